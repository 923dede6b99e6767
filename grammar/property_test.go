package grammar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// toy is a vocabulary of all bytes and some longer pieces; token 0 ends.
func toy() *Vocabulary {
	pieces := []string{"", "</s>"}
	for b := range 256 {
		pieces = append(pieces, string([]byte{byte(b)}))
	}
	pieces = append(pieces, `{"`, `":`, `": "`, `", "`, "true", "false", "null", "ab", "name", "1.", "12", `"}`, "}]", " {", "\n  ", "é", "\\u00")
	text := make([][]byte, len(pieces))
	for i, p := range pieces {
		if i != 1 { // a control token
			text[i] = []byte(p)
		}
	}
	return NewVocabulary(len(pieces), func(t Token) []byte { return text[t] }, []Token{0})
}

// walk writes a random text of a grammar, by tokens; after a while it takes what closes.
func walk(t *testing.T, r *rand.Rand, g *Grammar, v *Vocabulary) (string, bool) {
	track := NewTrack(g, v)
	var text []byte
	for n := 0; n < 3000; n++ {
		var list []Token
		track.Each(func(k Token) bool { list = append(list, k); return true })
		if len(list) == 0 {
			t.Fatalf("a dead end after %q", text)
		}
		k := list[r.IntN(len(list))]
		if n > 60 {
			for _, want := range []string{"", "}", "]", `"`} { // "" is the end
				for _, c := range list {
					if string(v.text(c)) == want {
						k = c
						goto chosen
					}
				}
			}
		}
	chosen:
		if !track.Accepts(k) {
			t.Fatalf("Each and Accepts disagree on token %d after %q", k, text)
		}
		if v.Ends(k) {
			return string(text), true
		}
		text = append(text, v.text(k)...)
		track.Push(k)
	}
	return "", false
}

// schema writes a random schema of the subset, and refers to #/$defs/d now and then.
func randomSchema(r *rand.Rand, depth int) map[string]any {
	s := map[string]any{}
	if r.IntN(4) == 0 {
		s["description"] = "x"
	}
	kind := r.IntN(12)
	if depth <= 0 {
		kind = r.IntN(6)
	}
	switch kind {
	case 0:
		s["type"] = "string"
		switch r.IntN(4) {
		case 0:
			s["minLength"], s["maxLength"] = r.IntN(3), 3+r.IntN(4)
		case 1:
			s["pattern"] = []string{"^[a-f]+$", "a.b", "^x|y$", `^\d{3}-\w*$`, `["\\]`, "^(ab|c)*$"}[r.IntN(6)]
			if r.IntN(2) == 0 {
				s["maxLength"] = 5
			}
		case 2:
			s["format"] = []string{"date", "time", "date-time", "uuid", "email", "ipv4", "hostname", "ipv6", "uri", "duration"}[r.IntN(10)]
		}
	case 1:
		s["type"] = "integer"
		if r.IntN(2) == 0 {
			lo := r.IntN(2000) - 1000
			s["minimum"], s["maximum"] = lo, lo+r.IntN(300)
		}
	case 2:
		s["type"] = "number"
		if r.IntN(2) == 0 {
			lo := float64(r.IntN(2000)-1000) / 16
			s["minimum"], s["exclusiveMaximum"] = lo, lo+0.0625+float64(r.IntN(300))/8
		}
	case 3:
		s["type"] = []string{"boolean", "null"}[r.IntN(2)]
	case 4:
		s["enum"] = []any{"a", 1, nil, true, []any{1, "x"}, map[string]any{"k": 2.5}}[:1+r.IntN(6)]
	case 5:
		s["const"] = []any{"lit\"eral", 42, false}[r.IntN(3)]
	case 6, 7, 8:
		s["type"] = "object"
		p, required := map[string]any{}, []any{}
		for i := range r.IntN(4) {
			name := []string{"a", "ab", "b", "é", "x\"y"}[(i+r.IntN(2))%5]
			if _, twice := p[name]; twice {
				continue
			}
			p[name] = randomSchema(r, depth-1)
			if r.IntN(2) == 0 {
				required = append(required, name)
			}
		}
		s["properties"], s["required"] = p, required
		switch r.IntN(3) {
		case 0:
			s["additionalProperties"] = false
		case 1:
			s["additionalProperties"] = randomSchema(r, 0)
		}
	case 9:
		s["type"] = "array"
		s["items"] = randomSchema(r, depth-1)
		s["minItems"], s["maxItems"] = r.IntN(3), 2+r.IntN(3)
		if r.IntN(3) == 0 {
			s["prefixItems"] = []any{randomSchema(r, 0), randomSchema(r, 0)}
		}
	case 10:
		s["anyOf"] = []any{randomSchema(r, depth-1), randomSchema(r, depth-1)}
	case 11:
		return map[string]any{"$ref": "#/$defs/d"}
	}
	return s
}

// What is generated under a schema is valid under it, says another validator; and what that validator's
// texts look like is accepted byte by byte.
func TestGeneratedIsValid(t *testing.T) {
	n := 120
	if os.Getenv("OUTRIDER_VERIFY") != "" {
		n = 4000
	}
	v := toy()
	made, refused, values := 0, 0, 0
	for seed := range uint64(n) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := randomSchema(r, 3)
		s["$defs"] = map[string]any{"d": map[string]any{"anyOf": []any{map[string]any{"type": "null"},
			map[string]any{"type": "object", "properties": map[string]any{"v": randomSchema(r, 1), "next": map[string]any{"$ref": "#/$defs/d"}},
				"required": []any{"next"}, "additionalProperties": false}}}}
		source, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Compile(Constraint{JSONSchema, string(source)})
		if err != nil {
			if !strings.Contains(err.Error(), "nothing can be valid") {
				t.Fatalf("seed %d: %s: %v", seed, source, err)
			}
			refused++
			continue
		}
		valid := validator(t, source)
		for range 5 {
			text, done := walk(t, r, g, v)
			if !done {
				continue
			}
			made++
			doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatalf("seed %d: %s\nwrote %q: %v", seed, source, text, err)
			}
			if err := valid.Validate(doc); err != nil {
				t.Fatalf("seed %d: %s\nwrote %q: %v", seed, source, text, err)
			}
			if !accepts(g, text) {
				t.Fatalf("seed %d: %s\nwrote %q and refuses it", seed, source, text)
			}
			values++
		}
	}
	if made < n*3 || refused > n/4 {
		t.Errorf("only %d texts of %d schemas, %d of which nothing fulfils", made, n, refused)
	}
}

func validator(t testing.TB, source []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:///s.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///s.json")
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return s
}

// Documents made of a schema's values, compact or indented, are accepted.
func TestValidIsAccepted(t *testing.T) {
	type address struct {
		Street string   `json:"street"`
		Zip    int      `json:"zip"`
		Tags   []string `json:"tags"`
	}
	type person struct {
		Name    string             `json:"name"`
		Age     float64            `json:"age"`
		Home    *address           `json:"home"`
		Friends []person           `json:"friends"`
		Scores  map[string]float64 `json:"scores"`
	}
	const schema = `{"$ref":"#/$defs/p","$defs":{"p":{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"number"},
		"home":{"anyOf":[{"type":"object","properties":{"street":{"type":"string","maxLength":9},"zip":{"type":"integer","minimum":0,"maximum":99999},
		"tags":{"type":"array","items":{"type":"string"}}},"required":["street","zip","tags"]},{"type":"null"}]},
		"friends":{"type":"array","items":{"$ref":"#/$defs/p"}},"scores":{"type":"object","additionalProperties":{"type":"number"}}},
		"required":["name","age","home","friends","scores"],"additionalProperties":false}}}`
	g := compile(t, JSONSchema, schema)
	r := rand.New(rand.NewPCG(1, 2))
	var make func(depth int) person
	make = func(depth int) person {
		p := person{Name: fmt.Sprintf("n\t\"%d ü😀\u2028", r.IntN(100)), Age: float64(r.IntN(1000)) / 8, Friends: []person{}, Scores: map[string]float64{}}
		if r.IntN(2) == 0 {
			p.Home = &address{"Ä<&>", r.IntN(99999), []string{"a", ""}[:r.IntN(3)]}
		}
		for range r.IntN(3) {
			p.Scores[fmt.Sprint("k", r.IntN(9))] = r.Float64()
		}
		for range r.IntN(3 - min(depth, 2)) {
			p.Friends = append(p.Friends, make(depth+1))
		}
		return p
	}
	for range 200 {
		p := make(0)
		compact, _ := json.Marshal(p)
		indented, _ := json.MarshalIndent(p, "", "  ")
		for _, text := range [][]byte{compact, indented} {
			if !accepts(g, string(text)) {
				t.Fatalf("refuses %s", text)
			}
		}
	}
}

// Whatever somebody sends, compiling and the first look at the vocabulary take bounded time.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`{"type":"object","properties":{"a":{"$ref":"#"}}}`, `{"anyOf":[{"allOf":[true,{"minimum":1.5,"maximum":"x"}]},false]}`,
		`{"type":"string","pattern":"^a{3,5}(b|c)+$","minLength":3,"format":"date"}`, `{"enum":[1,"a",{}],"const":1,"type":["integer"]}`,
		`{"prefixItems":[1],"items":false,"maxItems":2}`, `{"triggers":["a","ba"],"tags":[{"begin":"ab","schema":true,"end":""}],"at_least_one":true}`,
		`["a","b"]`, `(a|b)*c{2,9}\pL`, `{"type":"integer","minimum":-12,"exclusiveMaximum":1e3}`} {
		for kind := range byte(5) {
			f.Add(kind, s)
		}
	}
	v := toy()
	f.Fuzz(func(t *testing.T, kind byte, source string) {
		c := Constraint{[]string{JSONSchema, Regex, Choice, StructuralTag, JSONObject}[int(kind)%5], source}
		begin := time.Now()
		g, err := Compile(c)
		if err == nil {
			track := NewTrack(g, v)
			for range 8 {
				var last Token = -1
				track.Each(func(k Token) bool { last = k; return true })
				if last < 0 {
					break
				}
				track.Push(last)
			}
		}
		if d := time.Since(begin); d > 5*time.Second {
			t.Fatalf("it took %s", d)
		}
	})
}

// The matcher agrees with itself however a text is cut into tokens and whatever was read before.
func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"a":[1,2,{"b":null}],"c":"x\u00e9"}`))
	f.Add([]byte(`x<f=a>{"x":1}</f><f=`))
	object, err := Compile(Constraint{JSONSchema, `{"type":"object","properties":{"a":{"type":"array","items":{"type":["integer","null","object"]},"maxItems":4},"c":{"type":"string","pattern":"x"}},"required":["a"]}`})
	if err != nil {
		f.Fatal(err)
	}
	tag, err := Compile(Constraint{StructuralTag, `{"triggers":["<f="],"tags":[{"begin":"<f=a>","schema":{"type":"object"},"end":"</f>"}]}`})
	if err != nil {
		f.Fatal(err)
	}
	v := toy()
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, g := range []*Grammar{object, tag} {
			at, track := g.Start(), NewTrack(g, v)
			for i, b := range text {
				next := g.Step(at, []byte{b})
				if track.Accepts(Token(b)+2) != (next != nil) {
					t.Fatalf("byte %d of %q", i, text)
				}
				if track.Push(Token(b) + 2); next == nil {
					break
				}
				at = next
			}
			if len(text) > 3 {
				track.Truncate(2)
				if track.Accepts(Token(text[2])+2) != (g.Step(g.Start(), text[:3]) != nil) {
					t.Fatalf("after truncation of %q", text)
				}
			}
		}
	})
}
