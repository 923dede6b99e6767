package grammar

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// hostile are constraints that somebody may send to make a cloud slow.
func hostile() map[string]Constraint {
	many := func(n int, format string) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(format, i))
		}
		return strings.Join(out, ",")
	}
	letters := strings.Repeat("a", 200)
	return map[string]Constraint{
		"alternatives in a loop":  {Regex, "(" + strings.Repeat("a|", 9000) + "b)*"},
		"optional parts in loops": {Regex, strings.Repeat("(", 900) + strings.Repeat("a?)*", 900)},
		"nested repetitions":      {Regex, "((a{1,30}){1,30}b?)*"},
		"ambiguous":               {Regex, "(a|a|aa|aaa|[ab]|.)*(a|b)*(.*)*x"},
		"large classes":           {Regex, strings.Repeat(`\pL\PL`, 2000)},
		"classes together":        {JSONSchema, `{"allOf":[{"pattern":"^[\\pL\\pN]{1,200}$"},{"pattern":"^[\\pL\\pM]{1,200}$"},{"type":"string","pattern":"\\pL"}]}`},
		"long strings":            {JSONSchema, `{"type":"string","minLength":100000,"maxLength":16000000}`},
		"pattern and length":      {JSONSchema, `{"type":"string","pattern":"a.*b.*c.*d","maxLength":3000}`},
		"many properties":         {JSONSchema, `{"type":"object","properties":{` + many(9000, `"%d":{}`) + `}}`},
		"many required":           {JSONSchema, `{"type":"object","required":[` + many(12000, `"%d"`) + `]}`},
		"long names":              {JSONSchema, `{"type":"object","properties":{"` + strings.Repeat("ä", 30000) + `":{}}}`},
		"anyOf of anyOf":          {JSONSchema, `{"allOf":[` + strings.Repeat(`{"anyOf":[{"type":"string"},{"type":"object"},{"type":"array"}]},`, 20) + `true]}`},
		"references to all":       {JSONSchema, `{"$defs":{` + many(900, `"%d":{"allOf":[{"$ref":"#/$defs/0"},{"$ref":"#/$defs/1"}],"properties":{"a":{"$ref":"#/$defs/2"}}}`) + `},"allOf":[` + many(900, `{"$ref":"#/$defs/%d"}`) + `]}`},
		"ambiguous recursion":     {JSONSchema, `{"$defs":{"a":{"type":"array","items":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}]}},"b":{"type":"array","minItems":1,"items":{"anyOf":[{"$ref":"#/$defs/b"},{"$ref":"#/$defs/a"},{"type":"array"}]}}},"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}]}`},
		"oneOf of consts":         {JSONSchema, `{"oneOf":[` + many(6000, `{"const":%d}`) + `]}`},
		"large enum":              {JSONSchema, `{"enum":[` + many(9000, `%d`) + `],"pattern":"^(a|b)*$","minimum":3}`},
		"huge numbers":            {JSONSchema, `{"type":"number","minimum":-1e999999999,"maximum":1e-999999999}`},
		"many triggers":           {StructuralTag, `{"triggers":["` + letters[:60] + `",` + many(60, `"`+letters[:50]+`%d"`) + `],"tags":[{"begin":"` + letters + `"}]}`},
		"many tags":               {StructuralTag, `{"triggers":["a"],"tags":[` + many(800, `{"begin":"a%d","schema":{"type":"object"}}`) + `]}`},
		"many choices":            {Choice, `[` + many(1000, `"aaaaaaaaaaaaaaaaaaaaaaaaaaa%d"`) + `]`},
	}
}

// Compiling them takes little time and ends in a grammar or a clear error; stepping them is bounded.
func TestHostile(t *testing.T) {
	v := toy()
	for name, c := range hostile() {
		begin := time.Now()
		g, err := Compile(c)
		took := time.Since(begin)
		if err != nil && (!errors.Is(err, ErrConstraint) || len(err.Error()) > 400) {
			t.Errorf("%s: %v", name, err)
		}
		if took > 10*time.Second {
			t.Errorf("%s: compiled in %s", name, took)
		}
		slowest := time.Duration(0)
		if err == nil {
			track := NewTrack(g, v)
			for n := range 60 {
				begin := time.Now()
				var list []Token
				track.Each(func(k Token) bool { list = append(list, k); return true })
				slowest = max(slowest, time.Since(begin))
				if len(list) == 0 {
					break
				}
				track.Push(list[n%len(list)])
			}
		}
		if slowest > 5*time.Second {
			t.Errorf("%s: a look at the vocabulary took %s", name, slowest)
		}
		t.Logf("%-25s compiled in %v, a look at the vocabulary at most %v, %v", name, took.Round(time.Millisecond), slowest.Round(time.Microsecond), err)
	}
}

func TestStore(t *testing.T) {
	s := NewStore()
	a, err := s.Compile(Constraint{Regex, "a+"})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := s.Compile(Constraint{Regex, "a+"}); a != b {
		t.Error("compiled twice")
	}
	if _, err := s.Compile(Constraint{Regex, "("}); !errors.Is(err, ErrConstraint) {
		t.Error(err)
	}
	for i := range 700 {
		if _, err := s.Compile(Constraint{Regex, fmt.Sprintf("x{%d}", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if s.size > maxStored || s.used.Len() != len(s.known) || s.used.Len() < 100 {
		t.Errorf("%d grammars of size %d are kept", s.used.Len(), s.size)
	}
	if b, _ := s.Compile(Constraint{Regex, "a+"}); a == b {
		t.Error("the least used one was kept")
	}
}
