package chat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func say(t *testing.T, source string, vars map[string]any) (string, error) {
	t.Helper()
	tpl, err := New("test", source, vocabulary(t, source))
	if err != nil {
		return "", err
	}
	parts, err := tpl.Render(context.Background(), Conversation{Messages: []Message{{Role: "user", Content: "Hi"}}, Now: time.Date(2026, 3, 9, 18, 5, 7, 0, time.UTC), Variables: vars})
	return joined(parts), err
}

// Hostile templates end in an error that names the model, soon and without much memory.
func TestHostileTemplates(t *testing.T) {
	deep := strings.Repeat("(", 300) + "1" + strings.Repeat(")", 300)
	for name, source := range map[string]string{
		"loops":        `{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}{% endfor %}{% endfor %}`,
		"long range":   `{% for a in range(1000000000) %}{% endfor %}`,
		"output":       `{% for a in range(9999) %}` + strings.Repeat("x", 100000) + `{% endfor %}`,
		"macro output": `{% macro m() %}{% for a in range(9999) %}` + strings.Repeat("x", 100000) + `{% endfor %}{% endmacro %}{{ m()|length }}`,
		"block set":    `{% set x %}{% for a in range(9999) %}` + strings.Repeat("x", 100000) + `{% endfor %}{% endset %}`,
		"recursion":    `{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}`,
		"doubling":     `{% set ns = namespace(s='xx') %}{% for a in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}`,
		"doubling 2":   `{% set x = 'xx' %}` + strings.Repeat(`{% set x = x + x %}`, 60),
		"lists":        `{% set x = [1] %}` + strings.Repeat(`{% set x = x + x %}`, 60),
		"product":      `{{ 'x' * 1000000000 }}`,
		"product 2":    `{% set n = 1000000000 %}{{ 'x' * n }}`,
		"product 3":    `{% set x = 'x' %}{{ x * 1000000000 }}`,
		"product 4":    `{% set x = 'x' %}{{ x * 9 * 9 * 9 * 9 * 9 * 9 * 9 * 9 * 9 }}`,
		"width":        `{{ {'a': 1}|tojson(indent=1000000000) }}`,
		"indent":       `{{ 'a'|indent(1000000000) }}`,
		"replace":      `{% set x = 'aaaaaaaaaaaaaaaa' %}` + strings.Repeat(`{% set x = x|replace('a', 'aaaaaaaaaaaaaaaa') %}`, 20),
		"method":       `{% set x = 'aaaaaaaaaaaaaaaa' %}` + strings.Repeat(`{% set x = x.replace('a', 'aaaaaaaaaaaaaaaa') %}`, 20),
		"include":      `{% include '/etc/passwd' %}`,
		"import":       `{% import '/etc/passwd' as x %}`,
		"extends":      `{% extends '/etc/passwd' %}`,
		"words":        `{{ '' ` + strings.Repeat(`~ 'x'`, 1000) + ` }}`,
		"size":         strings.Repeat("x", maxSource+1),
		"no end":       `{% if x %}`,
		"no such":      `{{ x|nosuch }}`,
		"syntax":       `{{ 1 +`,
		"modulo":       `{{ 1 % 0 }}`,
		"brackets":     `{{ ` + deep + ` }}`,
		"open":         strings.Repeat("{{(", 50000),
		"open 2":       strings.Repeat("{{", 100000),
		"nested":       strings.Repeat("{%if 1%}", 30000),
		"nested sets":  strings.Repeat("{%set x%}", 20000),
		"nested 2":     strings.Repeat("{%if 1%}", 10000) + strings.Repeat("{%endif%}", 10000) + "{{ 1 % 0 }}",
		"comment":      strings.Repeat("{#", 100000) + "{%if",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begin := time.Now()
			_, err := say(t, source, nil)
			runtime.ReadMemStats(&after)
			if d := time.Since(begin); d > time.Minute {
				t.Errorf("took %v", d)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<30 {
				t.Errorf("%d MB allocated", grown>>20)
			}
			if name == "brackets" && err == nil {
				return
			}
			if !errors.Is(err, ErrTemplate) || !strings.Contains(err.Error(), "test") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	source := `{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}`
	tpl, err := New("test", source, vocabulary(t, source))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := tpl.Render(ctx, Conversation{Messages: []Message{{Role: "user", Content: "x"}}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// What gonja lacks or does otherwise than Python.
func TestMended(t *testing.T) {
	vars := map[string]any{"n": 3, "d": map[string]any{"b": 1, "a": "<é'\">"}, "empty": map[string]any{}, "f": 2.5, "big": 1e20, "s": "  a,b,c  "}
	for source, want := range map[string]string{
		`{{ 'a,b,c'.split(',', 1)|join('|') }}`:                                                                "a|b,c",
		`{{ 'a,b,c'.rsplit(',', 1)|join('|') }}`:                                                               "a,b|c",
		`{{ ' a  b c '.split()|join('|') }}`:                                                                   "a|b|c",
		`{{ ' a  b c '.split(none, 1)|join('|') }}`:                                                            "a|b c ",
		`{{ 'a</think>b'.split('</think>')[-1] }}`:                                                             "b",
		`{{ d|tojson }}`:                                                                                       `{"a": "<é'\">", "b": 1}`,
		`{{ d|tojson(ensure_ascii=true) }}`:                                                                    `{"a": "<\u00e9'\">", "b": 1}`,
		`{{ '🥊'|tojson(ensure_ascii=true) }}`:                                                                  `"\ud83e\udd4a"`,
		`{{ d|tojson(indent=2) }}`:                                                                             "{\n  \"a\": \"<é'\\\">\",\n  \"b\": 1\n}",
		`{{ d|tojson(separators=(',', ':')) }}`:                                                                `{"a":"<é'\">","b":1}`,
		`{{ [1, f, big, none, true, [], empty]|tojson }}`:                                                      `[1, 2.5, 1e+20, null, true, [], {}]`,
		`{{ {'z': 1, 'a': 2}|tojson }}`:                                                                        `{"z": 1, "a": 2}`,
		`{% for k, v in {'z': 1, 'a': 2}.items() %}{{ k }}{{ v }}{% endfor %}`:                                 "z1a2",
		`{% for k, v in {'z': 1, 'A': 2}|dictsort %}{{ k }}{{ v }}{% endfor %}`:                                "A2z1",
		`{% for k in {'z': 1, 'a': 2} %}{{ k }}{% endfor %}`:                                                   "za",
		`{{ {'z': 1}.get('z') }}{{ {'z': 1}.get('y', 5) }}`:                                                    "15",
		`{{ {'z': 1}.keys()|join }}{{ {'z': 1}.values()|list|length }}`:                                        "z1",
		`{% if empty %}yes{% else %}no{% endif %}`:                                                             "no",
		`{% generation %}a{% endgeneration %}b`:                                                                "ab",
		`{{ strftime_now('%d %b %Y %H:%M:%S %-d %B %y %p %% %A') }}`:                                           "09 Mar 2026 18:05:07 9 March 26 PM % Monday",
		`{{ ('a' if n == 3 else 'b') + ('c' if n == 4 else 'd' if n == 3 else 'e') }}`:                         "ad",
		`{{ 'x' ~ ('y' if n == 4) }}`:                                                                          "x",
		`{% macro m(a, b=('q' if n == 3 else 'r')) %}{{ a }}{{ b }}{% endmacro %}{{ m(a='p' if n else 'o') }}`: "pq",
		`{{ '-' * 3 }}{{ '=' * n }}{{ n * 2 }}`:                                                                "---===6",
		`{{ s|trim }}{{ s.strip() }}{{ s.lstrip() }}|`:                                                         "a,b,ca,b,ca,b,c  |",
		`{{ 'abc'.startswith(('x', 'ab')) }}{{ 'abc'.endswith('c') }}`:                                         "TrueTrue",
		`{{ 'hello world'.title() }}{{ 'hELLO'.capitalize() }}`:                                                "Hello WorldHello",
		`{{ 'añb'.find('b') }}{{ 'aa'.count('a') }}{{ 'x'.find('q') }}`:                                        "22-1",
		`{{ 1 is true }}{{ true is true }}{{ 'a' is sequence }}`:                                               "FalseTrueTrue",
		`{{ "a\nb\n\nc"|indent(2) }}`:                                                                          "a\n  b\n\n  c",
		`{{ "a\nb"|indent(2, true) }}`:                                                                         "  a\n  b",
		`{% for m in messages %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}`:                         "",
		`{{ messages|selectattr('role', 'equalto', 'user')|list|length }}`:                                     "1",
		`{{ (messages|selectattr('role', 'equalto', 'user')|list)[-1].content }}`:                              "Hi",
		`{{ [1, 2, 3][1:][-1] }}{{ [3, 1]|sort|first }}`:                                                       "31",
		`{{ x is defined }}{{ x is not none }}{{ not x }}`:                                                     "FalseFalseTrue",
	} {
		if got, err := say(t, source, vars); err != nil || got != want {
			t.Errorf("%s\n got %q %v\nwant %q", source, got, err, want)
		}
	}
}

// A template that joins a call's arguments to a text gets them as JSON.
func TestArguments(t *testing.T) {
	for source, want := range map[string]string{
		`{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments|tojson }}{% endfor %}{% endfor %}`:                                        `{"b": 1, "a": "x"}`,
		`{% for m in messages %}{% for c in m.tool_calls %}{{ '=' + c.function.arguments }}{% endfor %}{% endfor %}`:                                         `={"b":1,"a":"x"}`,
		`{% for m in messages %}{% for c in m.tool_calls %}{% for k, v in c.function.arguments|items %}{{ k }}:{{ v }},{% endfor %}{% endfor %}{% endfor %}`: `b:1,a:x,`,
	} {
		tpl, err := New("test", source, vocabulary(t, source))
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range []string{`{"b":1,"a":"x"}`, `"{\"b\":1,\"a\":\"x\"}"`} {
			parts, err := tpl.Render(context.Background(), Conversation{Messages: []Message{{Role: "assistant", ToolCalls: []ToolCall{{Name: "f", Arguments: json.RawMessage(args)}}}}})
			if got := joined(parts); err != nil || got != want {
				t.Errorf("%s: got %q %v, want %q", source, got, err, want)
			}
		}
	}
}

func TestRaise(t *testing.T) {
	_, err := say(t, `{{ raise_exception('Only
 one turn') }}`, nil)
	if !errors.Is(err, ErrConversation) || !strings.Contains(err.Error(), "Only one turn") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

func TestConcurrent(t *testing.T) {
	source := `{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x + m.content %}{% endfor %}{{ ns.x }}`
	tpl, err := New("test", source, vocabulary(t, source))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				text := fmt.Sprintf("text %d", i)
				parts, err := tpl.Render(context.Background(), Conversation{Messages: []Message{{Role: "user", Content: text}}})
				if err != nil || joined(parts) != text {
					t.Errorf("%q %v", joined(parts), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func FuzzTemplate(f *testing.F) {
	for _, s := range []string{chatML, `{% macro m(a) %}{{ a|tojson }}{% endmacro %}{{ m(messages) }}`, `{% for k, v in {'a': 1}.items() %}{{ ('a' if v else k) * 2 }}{% endfor %}`, "{{", "{% x %}"} {
		f.Add(s, "Hi <|im_end|>")
	}
	k := vocabulary(f, "")
	f.Fuzz(func(t *testing.T, source, text string) {
		tpl, err := New("fuzz", source, k)
		if err != nil {
			return
		}
		parts, err := tpl.Render(context.Background(), Conversation{Messages: []Message{{Role: "user", Content: text}}})
		if err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, ErrConversation) {
			t.Fatal(err)
		}
		for _, p := range parts {
			if p.Text == "" {
				t.Fatal("an empty part")
			}
		}
	})
}
