package grammar

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func compile(t testing.TB, kind, source string) *Grammar {
	t.Helper()
	g, err := Compile(Constraint{kind, source})
	if err != nil {
		t.Fatalf("%s %s: %v", kind, source, err)
	}
	return g
}

func accepts(g *Grammar, text string) bool {
	return g.Step(g.Start(), []byte(text)).Complete()
}

func TestSchemas(t *testing.T) {
	for _, c := range []struct{ schema, yes, no string }{ // texts are separated by |
		{`{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a"],"additionalProperties":false}`,
			`{"a":1}|{"a": -20, "b": "x"}| {"a":0}|{` + "\n  " + `"a": 1` + "\n" + `}`, `{}|{"b":"x"}|{"a":01}|{"a":1,}|{"a":1,"b":2}|{"a":1,"c":2}|{"a":1}x|{"a":1.5}|{"b":"x","a":1}`},
		{`{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"boolean"}}`,
			`{}|{"a":1}|{"a":1,"b":true}|{"ab":true}|{"":false}|{"b":true, "ac": false}`, `{"a":true}|{"b":1}|{"b":true,"a":1}|{"\u0061":true}`},
		{`{"type":"object"}`, `{}|{"a":{"b":[1,2,{"c":null}]}}`, `[]|1`},
		{`{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}`, `[1,2]|[1, 2, 3]`, `[]|[1]|[1,2,3,4]`},
		{`{"type":"array","items":{"type":"integer"},"minItems":1}`, `[1]|[1,2,3,4,5]`, `[]`},
		{`{"type":"array","maxItems":0}`, `[]|[ ]`, `[1]`},
		{`{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false,"minItems":1}`, `["a"]|["a",1]`, `[]|[1]|["a",1,2]`},
		{`{"type":"array","prefixItems":[{"type":"string"}],"items":{"type":"null"}}`, `[]|["a"]|["a",null,null]`, `[null]`},
		{`{"type":"string","minLength":2,"maxLength":3}`, `"ab"|"abc"|"äöü"|"\n\u00e9"|"\ud83d\ude00x"`, `"a"|"abcd"|"\ud83d\ude00"|"\ud83dx"`},
		{`{"type":"string","pattern":"^[a-c]+$"}`, `"a"|"abc"`, `""|"d"|"ad"`},
		{`{"type":"string","pattern":"b"}`, `"b"|"abc"|"\nb"`, `""|"a"`},
		{`{"type":"string","pattern":"^[\"\\\\\n]$"}`, `"\""|"\\"|"\n"`, `""""|"\x"`},
		{`{"type":"string","pattern":"^a+$","minLength":2,"maxLength":4}`, `"aa"|"aaaa"`, `"a"|"aaaaa"|"ab"`},
		{`{"type":"string","pattern":"^a+$","minLength":2}`, `"aa"|"aaaaaaa"`, `"a"`},
		{`{"allOf":[{"type":"string","pattern":"a"},{"pattern":"b"}]}`, `"ab"|"bxa"`, `"a"|"b"`},
		{`{"enum":["a",1,null,true,{"x":[1,2]}]}`, `"a"|1|null|true|{"x":[1,2]}`, `"b"|2|false|{}`},
		{`{"type":"string","enum":["a",1,"bcd"],"maxLength":2}`, `"a"`, `1|"bcd"`},
		{`{"const":"x\"y"}`, `"x\"y"`, `"x"`},
		{`{"type":["integer","null"]}`, `1|null`, `1.0|"a"`},
		{`{"type":"integer","minimum":-5,"maximum":120}`, `-5|-1|0|5|99|120|100`, `-6|121|130|200|1000|-10|00`},
		{`{"type":"integer","exclusiveMinimum":0}`, `1|10|99999`, `0|-1`},
		{`{"type":"integer","maximum":-3}`, `-3|-10|-99`, `0|-2|3`},
		{`{"type":"integer","minimum":17,"maximum":17}`, `17`, `16|18|1|170`},
		{`{"type":"number","minimum":1.5,"maximum":2.25}`, `1.5|2|2.25|2.250|1.50001|2.1`, `1.4|1|2.26|2.2501|1.49999|3|0`},
		{`{"type":"number","exclusiveMinimum":1.5,"exclusiveMaximum":2.25}`, `1.51|2|2.249`, `1.5|1.50|2.25|2.250`},
		{`{"type":"number","minimum":-0.5,"maximum":0.5}`, `0|-0.5|0.5|-0.25|0.0`, `0.51|-0.51|1|-1`},
		{`{"type":"number","minimum":0}`, `0|1.5|12345.678`, `-1|-0.1`},
		{`{"type":"number"}`, `0|-1.5e10|1E-5|12.25`, `01|.5|1.|+1`},
		{`{"type":"boolean"}`, `true|false`, `True|1`},
		{`{"anyOf":[{"type":"string"},{"type":"integer"}],"description":"x"}`, `"a"|1`, `null|1.5`},
		{`{"type":"object","properties":{"k":{"type":"string"}},"required":["k"],"anyOf":[{"properties":{"n":{"type":"integer"}},"required":["n"]},{"properties":{"s":{"type":"string"}},"required":["s"]}],"additionalProperties":true}`,
			`{"k":"a","n":1}|{"k":"a","s":"x"}`, `{"k":"a"}|{"n":1}|{"k":"a","n":"x"}`},
		{`{"oneOf":[{"type":"object","properties":{"t":{"const":"a"},"x":{"type":"integer"}},"required":["t","x"]},{"type":"object","properties":{"t":{"const":"b"}},"required":["t"]}]}`,
			`{"t":"a","x":1}|{"t":"b"}|{"t":"b","y":1}`, `{"t":"a"}|{"t":"c"}`},
		{`{"$ref":"#/$defs/tree","$defs":{"tree":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/tree"}}},"required":["v","kids"],"additionalProperties":false}}}`,
			`{"v":1,"kids":[]}|{"v":1,"kids":[{"v":2,"kids":[{"v":3,"kids":[]}]},{"v":4,"kids":[]}]}`, `{"v":1}|{"v":1,"kids":[1]}|{"v":1,"kids":[{"v":2,"kids":[]}}`},
		{`{"type":"object","properties":{"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}},"required":["next"],"additionalProperties":false}`,
			`{"next":null}|{"next":{"next":{"next":null}}}`, `{"next":1}`},
		{`{"anyOf":[{"$ref":"#"},{"type":"null"}]}`, `null`, `1`},
		{`{"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"b":{"type":"string"},"a":{"maximum":5}},"required":["b"]}]}`,
			`{"a":5,"b":"x"}`, `{"a":6,"b":"x"}|{"a":5}`},
		{`{"type":"string","format":"date"}`, `"2024-02-29"|"2023-12-31"`, `"2023-02-29"|"2023-13-01"|"2023-04-31"`},
		{`{"type":"string","format":"date-time"}`, `"2024-02-29T23:59:59Z"|"2024-01-01T00:00:00.5+02:00"`, `"2024-02-29"|"2024-01-01T24:00:00Z"`},
		{`{"type":"string","format":"uuid"}`, `"123e4567-e89b-12d3-a456-426614174000"`, `"123"`},
		{`{"type":"string","format":"email"}`, `"a.b@example.com"`, `"a@"|"@b"`},
		{`{"type":"string","format":"ipv4"}`, `"127.0.0.1"`, `"256.1.1.1"|"1.1.1"`},
		{`true`, `1|{}|[]`, ``},
		{`{"type":"string","pattern":"^\\p{Lu}\\u00e4$"}`, `"Ää"|"Zä"`, `"zä"`},
		{`{"type":"object","additionalProperties":{"type":"integer"},"maxProperties":1}`, `{}|{"a":1}`, `{"a":1,"b":2}`},
	} {
		g := compile(t, JSONSchema, c.schema)
		for _, text := range strings.Split(c.yes, "|") {
			if !accepts(g, text) {
				t.Errorf("%s refuses %s", c.schema, text)
			}
		}
		for _, text := range strings.Split(c.no, "|") {
			if accepts(g, text) {
				t.Errorf("%s accepts %s", c.schema, text)
			}
		}
	}
}

func TestOtherKinds(t *testing.T) {
	tags := func(more string) string {
		return `{"triggers":["<f="],"tags":[{"begin":"<f=a>","schema":{"type":"object","properties":{"x":{"type":"integer"}},"required":["x"],"additionalProperties":false},"end":"</f>"},
			{"begin":"<f=b>","schema":{"type":"boolean"},"end":"</f>"}]` + more + `}`
	}
	for _, c := range []struct {
		kind, source string
		yes, no      []string
	}{
		{JSONObject, "", []string{`{}`, `{"a":[1,"x",{"b":null}]}`}, []string{`[]`, `1`, `{`, `{"a"}`, `{"a":1}}`}},
		{Regex, `[a-z]+(\d{2}|ä)`, []string{"abc12", "xä"}, []string{"abc1", "12", "abc123", ""}},
		{Regex, `(?i)yes|no`, []string{"YES", "yEs", "no", "NO"}, []string{"yesno"}},
		{Regex, `^a$`, []string{"a"}, []string{"aa", ""}},
		{Regex, `.*`, []string{"", "äöü€😀"}, []string{"\n", "\xff", "\xed\xa0\x80"}},
		{Choice, `["yes","no","nothing"]`, []string{"yes", "no", "nothing"}, []string{"n", "not", "yesno", ""}},
		{StructuralTag, tags(""), []string{"", "hello < f=", "x <f=a>{\"x\":1}</f> y <f=b>true</f>", "<<f=b> false\n</f>"},
			[]string{"<f=", "x<f=c>", "<f=a>{}</f>", "<f=a>{\"x\":1}"}},
		{StructuralTag, tags(`,"at_least_one":true`), []string{"<f=b>true</f>", "<f=b>true</f> and <f=b>true</f>"}, []string{"", "x<f=b>true</f>"}},
		{StructuralTag, tags(`,"stop_after_first":true`), []string{"", "a", "a<f=b>true</f>"}, []string{"a<f=b>true</f> "}},
		{StructuralTag, tags(`,"stop_after_first":true,"at_least_one":true`), []string{"<f=b>true</f>"}, []string{"", "<f=b>true</f>x"}},
	} {
		g := compile(t, c.kind, c.source)
		for _, text := range c.yes {
			if !accepts(g, text) {
				t.Errorf("%s %s refuses %q", c.kind, c.source, text)
			}
		}
		for _, text := range c.no {
			if accepts(g, text) {
				t.Errorf("%s %s accepts %q", c.kind, c.source, text)
			}
		}
	}
}

// What is wrong is said in one line that names the place.
func TestErrors(t *testing.T) {
	deep := strings.Repeat(`{"items":`, 200) + `{}` + strings.Repeat("}", 200)
	for _, c := range []struct{ kind, source, want string }{
		{"xml", "", "kind \"xml\" is unknown"},
		{JSONObject, "{}", "takes no source"},
		{JSONSchema, "{", "not valid JSON"},
		{JSONSchema, `{"type":"object"} x`, "not valid JSON"},
		{JSONSchema, `1`, "# is no schema"},
		{JSONSchema, `{"properties":{"a":{"not":{}}}}`, `#/properties/a: the keyword "not" is not supported`},
		{JSONSchema, `{"properties":{"a":{"type":"text"}}}`, `#/properties/a/type: type "text" is unknown`},
		{JSONSchema, `{"$ref":"http://x"}`, "#/$ref: only references within"},
		{JSONSchema, `{"$ref":"#/$defs/x"}`, "there is no #/$defs/x"},
		{JSONSchema, `false`, "nothing can be valid at #"},
		{JSONSchema, `{"type":"object","properties":{"a":{"enum":[]}},"required":["a"]}`, "nothing can be valid at #/properties/a"},
		{JSONSchema, `{"type":"integer","minimum":3,"maximum":2}`, "nothing can be valid"},
		{JSONSchema, `{"type":"number","exclusiveMinimum":2,"maximum":2}`, "nothing can be valid"},
		{JSONSchema, `{"type":"string","pattern":"(?=a)"}`, "#/pattern: "},
		{JSONSchema, `{"type":"string","pattern":"\\bx"}`, "#/pattern: "},
		{JSONSchema, `{"type":"string","format":"colour"}`, `#/format: the format "colour" is not supported`},
		{JSONSchema, `{"type":"array","uniqueItems":true}`, "#/uniqueItems"},
		{JSONSchema, `{"type":"number","multipleOf":0.1}`, "#/multipleOf"},
		{JSONSchema, `{"type":"string","minLength":-1}`, "#/minLength must be a whole number"},
		{JSONSchema, `{"type":"integer","minimum":1e99}`, "#/minimum must be a number"},
		{JSONSchema, `{"oneOf":[{"type":"string"},{"type":"string","maxLength":3}]}`, "#/oneOf: alternatives 0 and 1 may both hold"},
		{JSONSchema, `{"type":"string","pattern":"^(a{1,900}b{1,900})$","maxLength":20000}`, "simplify one"},
		{JSONSchema, deep, "nested more than"},
		{Regex, "(", "regex: "},
		{Regex, "a{1000}{1000}", "regex: "},
		{Choice, `[]`, "JSON array"},
		{Choice, `{"a":1}`, "JSON array"},
		{StructuralTag, `{}`, "at least one trigger"},
		{StructuralTag, `{"triggers":["a"],"tags":[{"begin":"b"}]}`, "begins with no trigger"},
		{StructuralTag, `{"triggers":["a"],"tags":[{"begin":"a","schema":{"not":{}}}]}`, "schema of tags[0]"},
		{JSONSchema, strings.Repeat(" ", MaxSource+1), "at most"},
	} {
		_, err := Compile(Constraint{c.kind, c.source})
		if !errors.Is(err, ErrConstraint) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %.80s: %v, want %q", c.kind, c.source, err, c.want)
		}
	}
}

// The text of a pattern is what regexp takes, for texts near the border.
func TestQuote(t *testing.T) {
	for _, s := range []string{"", "a\"b\\c/\n\t\x01\x7fé😀"} {
		var back string
		if err := json.Unmarshal([]byte(quote(s)), &back); err != nil || back != s {
			t.Errorf("%q became %s: %v", s, quote(s), err)
		}
	}
}
