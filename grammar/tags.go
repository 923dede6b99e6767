package grammar

import (
	"encoding/json"
	"slices"
	"strings"
)

// tags is the source of a structural tag, with the words of XGrammar and vLLM: free text until one of
// the triggers is written, then the rest of a tag that begins with it, JSON that is valid under the tag's
// schema, and the tag's end. at_least_one: a tag comes first. stop_after_first: the text ends with it.
type tags struct {
	Triggers []string `json:"triggers"`
	Tags     []struct {
		Begin  string          `json:"begin"`
		Schema json.RawMessage `json:"schema"`
		End    string          `json:"end"`
	} `json:"tags"`
	AtLeastOne     bool `json:"at_least_one"`
	StopAfterFirst bool `json:"stop_after_first"`
}

const (
	maxTriggers = 64
	maxTrigger  = 64 // bytes
)

func (t *tags) validate() error {
	if len(t.Triggers) == 0 || len(t.Tags) == 0 {
		return constraintError("%s needs at least one trigger and one tag", StructuralTag)
	}
	if len(t.Triggers) > maxTriggers || len(t.Tags) > maxThreads {
		return constraintError("%s has %d triggers and %d tags, at most %d and %d are allowed", StructuralTag, len(t.Triggers), len(t.Tags), maxTriggers, maxThreads)
	}
	for _, s := range t.Triggers {
		if s == "" || len(s) > maxTrigger {
			return constraintError("%s: a trigger has 1 to %d bytes", StructuralTag, maxTrigger)
		}
	}
	for i, tag := range t.Tags {
		if !slices.ContainsFunc(t.Triggers, func(s string) bool { return strings.HasPrefix(tag.Begin, s) }) {
			return constraintError("%s: tags[%d] begins with %.64q, which begins with no trigger", StructuralTag, i, tag.Begin)
		}
	}
	return nil
}

// structuralTag compiles tags within free text.
func (b *builder) structuralTag(source string) (int32, error) {
	var t tags
	d := json.NewDecoder(strings.NewReader(source))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return 0, constraintError("%s: %s", StructuralTag, err)
	}
	if err := t.validate(); err != nil {
		return 0, err
	}
	free := b.reserve()
	after := free
	if t.StopAfterFirst {
		after = pcMatch
	}
	bodies := make([]int32, len(t.Tags)) // behind begin
	for i, tag := range t.Tags {
		source := string(tag.Schema)
		if source == "" {
			source = "true"
		}
		rule, err := schemaRule(b, source)
		if err != nil {
			return 0, constraintError("%s: schema of tags[%d]: %s", StructuralTag, i, strings.TrimPrefix(err.Error(), ErrConstraint.Error()+": "))
		}
		bodies[i] = b.space(b.call(rule, b.space(b.literal(tag.End, after))))
	}
	b.freeText(free, &t, bodies)
	if !t.AtLeastOne {
		return free, nil
	}
	var first []int32
	for i, tag := range t.Tags {
		first = append(first, b.literal(tag.Begin, bodies[i]))
	}
	return b.alt(first...), nil
}

// freeText fills in a text in which no trigger has been written yet; Aho and Corasick's automaton.
func (b *builder) freeText(start int32, t *tags, bodies []int32) {
	nodes, at := []string{""}, map[string]int{"": 0} // beginnings of triggers
	for _, s := range t.Triggers {
		for i := 1; i < len(s); i++ {
			if _, ok := at[s[:i]]; !ok {
				at[s[:i]] = len(nodes)
				nodes = append(nodes, s[:i])
			}
		}
	}
	pcs := []int32{start}
	for range nodes[1:] {
		pcs = append(pcs, b.reserve())
	}
	last := map[byte][]string{} // triggers by their last byte
	for _, s := range t.Triggers {
		c := s[len(s)-1]
		last[c] = append(last[c], s)
	}
	for i, n := range nodes {
		if b.err != nil {
			return
		}
		var edges []edge
		for c := range 256 {
			text := n + string([]byte{byte(c)})
			var to int32
			found := false
			for _, s := range last[byte(c)] { // complete now: the tags that begin so
				if strings.HasSuffix(text, s) {
					for j, tag := range t.Tags {
						if strings.HasPrefix(tag.Begin, s) {
							edges = append(edges, edge{byte(c), byte(c), b.literal(tag.Begin[len(s):], bodies[j])})
						}
					}
					found = true
				}
			}
			if found {
				continue
			}
			for k := 0; ; k++ { // the longest end that a trigger begins with
				if n, ok := at[text[k:]]; ok {
					to = pcs[n]
					break
				}
			}
			if e := len(edges) - 1; e >= 0 && edges[e].to == to && int(edges[e].hi)+1 == c {
				edges[e].hi = byte(c)
			} else {
				edges = append(edges, edge{byte(c), byte(c), to})
			}
		}
		b.fill(pcs[i], inst{op: opAlt, targets: []int32{pcMatch, b.edges(edges...)}})
	}
}
