package workload

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/outrider-llm/outrider/chat"
)

// Item is one prompt of a workload, with what the set tells of it.
type Item struct {
	ID       string         // within the workload
	Task     string         // kind of prompt; empty: the set has one kind
	Prompt   string         // text; empty when Messages is set
	Messages []chat.Message // a conversation to answer
	Expected string         // an answer that the set knows, if any: a prediction to draft from
}

// Text is the prompt, of a conversation all that was said.
func (it *Item) Text() string {
	text := it.Prompt
	for _, m := range it.Messages {
		text += m.Content + "\n"
	}
	return text
}

// ErrWorkload is wrapped by errors that say what is wrong with a workload.
var ErrWorkload = errors.New("cannot read the workload")

// known names the sets and the files that hold them, as patterns.
func known() map[string][]string {
	return map[string][]string{
		"spec_bench":    {"spec_bench.jsonl*"},
		"gsm8k":         {"gsm8k*.jsonl*", "GSM8K*.jsonl*"},
		"humaneval":     {"HumanEval*.jsonl*", "humaneval*.jsonl*"},
		"self_instruct": {"self_instruct*.jsonl*", "seed_tasks.jsonl*"},
		"vicuna":        {"vicuna*.jsonl*"},
	}
}

// Names lists the workloads that Load knows by name.
func Names() []string {
	names := []string{"stories"}
	for n := range known() {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Load returns n items (0: all) of a workload: a known name, whose file is looked for in the folder
// data, or the path of a file. Of a set with several tasks each gets its share. Errors wrap ErrWorkload.
func Load(name, data string, n int) ([]Item, error) {
	if name == "stories" {
		var out []Item
		for i, s := range Stories(max(n, 0)) {
			out = append(out, Item{ID: fmt.Sprintf("story-%d", i), Task: "story", Prompt: s})
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("%w: say how many stories", ErrWorkload)
		}
		return out, nil
	}
	path, set := name, ""
	if patterns, ok := known()[name]; ok {
		set = name
		if path = find(data, patterns); path == "" {
			return nil, fmt.Errorf("%w %s: no %s in the folder %q: name the folder that holds it (--data)", ErrWorkload, name, patterns[0], data)
		}
	} else if !strings.ContainsAny(name, "./\\") {
		return nil, fmt.Errorf("%w: no workload %q: use %s, or the path of a file", ErrWorkload, name, strings.Join(Names(), ", "))
	}
	items, err := readItems(path, set)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrWorkload, err)
	}
	return share(items, n), nil
}

func find(dir string, patterns []string) string {
	for _, p := range patterns {
		if all, _ := filepath.Glob(filepath.Join(dir, p)); len(all) > 0 { // the patterns are well formed
			return all[0]
		}
	}
	return ""
}

func readItems(path, set string) ([]Item, error) {
	r, done, err := unpacked(path)
	if err != nil {
		return nil, err
	}
	defer done()
	items, err := ParseItems(r, set)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return items, nil
}

// Bounds of what is read.
const (
	maxLine  = 8 << 20
	maxItems = 1 << 20
)

// ParseItems reads JSON lines (the fields of the known sets, or OpenAI messages), or plain text, one
// prompt a line. set tells how tasks are named; empty: as the file has them.
func ParseItems(r io.Reader, set string) ([]Item, error) {
	var out []Item
	seen := map[string]bool{}
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for line := 1; s.Scan(); line++ {
		text := strings.TrimSpace(s.Text())
		if text == "" {
			continue
		}
		it := Item{Prompt: text}
		if text[0] == '{' {
			var err error
			if it, err = item([]byte(text)); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		if set == "spec_bench" {
			it.Task = specBenchTask(it.Task)
		}
		if it.ID == "" {
			it.ID = fmt.Sprintf("line-%d", line)
		}
		if seen[it.ID] {
			it.ID = fmt.Sprintf("%s-line-%d", it.ID, line)
		}
		seen[it.ID] = true
		if out = append(out, it); len(out) > maxItems {
			return nil, fmt.Errorf("more than %d prompts", maxItems)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(out) == 0 {
		return nil, errors.New("no prompt in it")
	}
	return out, nil
}

// specBenchTask puts the categories of MT-bench into one task, as Spec-Bench does (arXiv 2401.07851).
func specBenchTask(category string) string {
	switch category {
	case "writing", "roleplay", "reasoning", "math", "coding", "extraction", "stem", "humanities":
		return "mt_bench"
	}
	return category
}

func item(line []byte) (Item, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(line, &m); err != nil {
		return Item{}, err
	}
	word := func(names ...string) string {
		for _, n := range names {
			var s string
			if json.Unmarshal(m[n], &s) == nil && s != "" {
				return s
			}
			var k json.Number
			if len(m[n]) > 0 && m[n][0] != '"' && json.Unmarshal(m[n], &k) == nil && k != "" {
				return k.String()
			}
		}
		return ""
	}
	it := Item{ID: word("id", "task_id", "question_id"), Task: word("task", "category"), Expected: word("prediction", "canonical_solution", "answer")}
	if raw, ok := m["messages"]; ok {
		messages, err := messagesOf(raw)
		it.Messages = messages
		return it, err
	}
	var err error
	it.Prompt, err = promptOf(line)
	return it, err
}

// messagesOf reads a conversation in OpenAI's format, text only.
func messagesOf(raw json.RawMessage) ([]chat.Message, error) {
	var in []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("messages: %w", err)
	}
	var out []chat.Message
	for i, m := range in {
		var text string
		if err := json.Unmarshal(m.Content, &text); err != nil {
			var parts []struct{ Type, Text string }
			if json.Unmarshal(m.Content, &parts) != nil {
				return nil, fmt.Errorf("message %d: the content is neither a text nor a list of text parts", i+1)
			}
			for _, p := range parts {
				if p.Type != "text" {
					return nil, fmt.Errorf("message %d: a part of type %q: only text can be measured", i+1, p.Type)
				}
				text += p.Text
			}
		}
		switch m.Role {
		case "system", "user", "assistant", "tool", "developer":
		default:
			return nil, fmt.Errorf("message %d: the role %q is none of system, user, assistant, tool", i+1, m.Role)
		}
		out = append(out, chat.Message{Role: m.Role, Content: text})
	}
	// What the assistant said last is what is to be generated.
	for len(out) > 0 && out[len(out)-1].Role == "assistant" {
		out = out[:len(out)-1]
	}
	if len(out) == 0 {
		return nil, errors.New("messages: none that is to be answered")
	}
	return out, nil
}

// share takes n items so that each task gets its turn, in the order of the file within a task.
func share(items []Item, n int) []Item {
	if n <= 0 || n >= len(items) {
		return items
	}
	var tasks []string
	byTask := map[string][]Item{}
	for _, it := range items {
		if byTask[it.Task] == nil {
			tasks = append(tasks, it.Task)
		}
		byTask[it.Task] = append(byTask[it.Task], it)
	}
	var out []Item
	for k := 0; len(out) < n; k++ {
		for _, t := range tasks {
			if k < len(byTask[t]) && len(out) < n {
				out = append(out, byTask[t][k])
			}
		}
	}
	return out
}
