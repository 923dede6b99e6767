package privacy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Redactor replaces the personal data of one request by placeholders such as [EMAIL_1]. The same value has
// the same placeholder, and numbers follow the order of first mention: a conversation that grows keeps those
// of its beginning. It is not for several goroutines.
type Redactor struct {
	d      *Detector
	of     map[string]string // value to placeholder
	value  map[string]string // placeholder to value, of those that may be put back
	taken  map[string]bool   // written by the request itself
	number map[Kind]int
	found  map[Kind]int
}

var written = regexp.MustCompile(`\[(?:EMAIL|PHONE|CARD|IBAN|NATIONAL_ID|API_KEY|NAME)_[0-9]{1,6}\]`)

// Redactor starts one. texts are all that the request says: what looks like a placeholder there is left
// alone and its number not given out.
func (d *Detector) Redactor(texts ...string) *Redactor {
	r := &Redactor{d: d, of: map[string]string{}, value: map[string]string{}, taken: map[string]bool{}, number: map[Kind]int{}, found: map[Kind]int{}}
	for _, t := range texts {
		if strings.Contains(strings.ToUpper(t), "_") && strings.Contains(t, "[") {
			for _, p := range written.FindAllString(strings.ToUpper(t), -1) {
				r.taken[p] = true
			}
		}
	}
	return r
}

// Redact gives text with placeholders.
func (r *Redactor) Redact(text string) string {
	findings := r.d.Detect(text)
	if len(findings) == 0 {
		return text
	}
	var b strings.Builder
	at := 0
	for _, f := range findings {
		b.WriteString(text[at:f.Start])
		b.WriteString(r.placeholder(f.Kind, text[f.Start:f.End]))
		at = f.End
	}
	b.WriteString(text[at:])
	return b.String()
}

func (r *Redactor) placeholder(k Kind, value string) string {
	r.found[k]++
	if p, ok := r.of[value]; ok {
		return p
	}
	for {
		r.number[k]++
		p := fmt.Sprintf("[%s_%d]", strings.ToUpper(string(k)), r.number[k])
		if r.taken[p] {
			continue
		}
		r.of[value] = p
		if plain(value) {
			r.value[p] = value
		}
		return p
	}
}

// Placeholder is what stands for a value that was found, empty when none does.
func (r *Redactor) Placeholder(value string) string { return r.of[value] }

// plain values can be put back anywhere, also within a JSON string. Others, such as a private key of many
// lines, stay placeholders in the answer.
func plain(value string) bool {
	return !strings.ContainsFunc(value, func(c rune) bool { return c == '"' || c == '\\' || c < ' ' })
}

// RedactJSON replaces within the strings of a JSON text and leaves all else as it is. What is no JSON is
// treated as plain text.
func (r *Redactor) RedactJSON(raw []byte) []byte {
	if !json.Valid(raw) {
		return []byte(r.Redact(string(raw)))
	}
	var out []byte
	for i := 0; i < len(raw); {
		if raw[i] != '"' {
			out = append(out, raw[i])
			i++
			continue
		}
		end := i + 1
		for raw[end] != '"' {
			if raw[end] == '\\' {
				end++
			}
			end++
		}
		end++
		out = append(out, r.literal(raw[i:end])...)
		i = end
	}
	return out
}

// literal redacts one JSON string.
func (r *Redactor) literal(raw []byte) []byte {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return raw
	}
	red := r.Redact(s)
	if red == s {
		return raw
	}
	b, err := json.Marshal(red)
	if err != nil {
		return raw // a string always can be
	}
	return b
}

// Found counts the findings by kind, repeated ones too.
func (r *Redactor) Found() map[Kind]int { return r.found }

// Restorer puts the values back into a text that comes in pieces.
type Restorer struct {
	value map[string]string // by placeholder, of upper case
	held  string            // may be the beginning of a placeholder
}

// Restorer starts a stream of text in which the placeholders given out so far are replaced by their values.
func (r *Redactor) Restorer() *Restorer { return &Restorer{value: r.value} }

// Feed takes the next piece and gives what is certain.
func (t *Restorer) Feed(piece string) string {
	if len(t.value) == 0 || piece == "" {
		return piece
	}
	text := t.held + piece
	var b strings.Builder
	for {
		i := strings.IndexByte(text, '[')
		if i < 0 {
			t.held = ""
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		text = text[i:]
		p, unsure := t.begins(text)
		switch {
		case p != "":
			b.WriteString(t.value[p])
			text = text[len(p):]
		case unsure:
			t.held = text
			return b.String()
		default:
			b.WriteByte('[')
			text = text[1:]
		}
	}
}

// begins finds the placeholder with which text begins, or says that more text may make one. Models that
// write it in other letters are understood.
func (t *Restorer) begins(text string) (p string, unsure bool) {
	const longest = len("[NATIONAL_ID_999999]")
	end := strings.IndexByte(text[:min(len(text), longest)], ']')
	if end >= 0 {
		p = strings.ToUpper(text[:end+1])
		if _, ok := t.value[p]; ok {
			return p, false
		}
		return "", false
	}
	up := strings.ToUpper(text)
	for p := range t.value {
		if strings.HasPrefix(p, up) {
			return "", true
		}
	}
	return "", false
}

// Flush gives what was held back when no more text comes.
func (t *Restorer) Flush() string {
	s := t.held
	t.held = ""
	return s
}

// Whole restores a text that is complete.
func (t *Restorer) Whole(text string) string {
	w := Restorer{value: t.value}
	return w.Feed(text) + w.Flush()
}
