package chat

import (
	"fmt"
	"strings"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// prepare bounds a template's expressions and rewrites what gonja does not read, or does not bound:
//
//	(a if c else b)   becomes  (((c) and [a] or [b])[0])
//	"text" * number   becomes  a filter with a bound
func prepare(source string, c *config.Config) (string, error) {
	w := &rewriter{source: source}
	for s := tokens.LexAll(source, c); !s.End(); s.Next() {
		w.all = append(w.all, s.Current())
	}
	if err := w.bound(); err != nil {
		return "", err
	}
	return w.tags(), nil
}

// tags rewrites each tag by itself, so that no bracket reaches beyond its own.
func (w *rewriter) tags() string {
	var b strings.Builder
	for i := 0; i < len(w.all); {
		end := i + 1
		switch w.all[i].Type {
		case tokens.VariableBegin, tokens.BlockBegin:
			for end < len(w.all) && w.all[end].Type != tokens.VariableEnd && w.all[end].Type != tokens.BlockEnd {
				end++
			}
		}
		b.WriteString(w.group(i, end))
		i = end
	}
	return b.String()
}

// rewriter works on the tokens of a template; each stands for its text up to the next one.
type rewriter struct {
	source string
	all    []*tokens.Token
}

func (w *rewriter) text(i int) string {
	end := len(w.source)
	if i+1 < len(w.all) {
		end = w.all[i+1].Pos
	}
	return w.source[w.all[i].Pos:end]
}

// bound refuses what could make much of little.
func (w *rewriter) bound() error {
	words, products := 0, 0
	for i, t := range w.all {
		switch t.Type {
		case tokens.VariableBegin, tokens.BlockBegin:
			words, products = 0, 0
		}
		if words++; words > maxTokens {
			return fmt.Errorf("line %d: an expression of more than %d words", t.Line, maxTokens)
		}
		if t.Type != tokens.Multiply || i == 0 || i+1 >= len(w.all) {
			continue
		}
		before, next := w.all[i-1], w.all[i+1]
		switch {
		case next.Type == tokens.Name && (before.Type == tokens.LeftParenthesis || before.Type == tokens.Comma): // *args
		case w.repeats(i):
		case next.Type == tokens.Integer && len(next.Val) == 1 && products == 0:
			products++
		default:
			return fmt.Errorf("line %d: * is allowed between a literal text and a name, or once with a digit", t.Line)
		}
	}
	return nil
}

// repeats says whether token i multiplies a literal text.
func (w *rewriter) repeats(i int) bool {
	if w.all[i].Type != tokens.Multiply || i == 0 || i+1 >= len(w.all) || w.all[i-1].Type != tokens.String {
		return false
	}
	if next := w.all[i+1].Type; next != tokens.Name && next != tokens.Integer {
		return false
	}
	if i+2 == len(w.all) {
		return true
	}
	switch w.all[i+2].Type { // the operand goes on
	case tokens.Dot, tokens.LeftBracket, tokens.LeftParenthesis, tokens.Pipe, tokens.Power:
		return false
	}
	return true
}

// group rewrites the tokens from to to, which hold whole brackets.
func (w *rewriter) group(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		switch w.all[i].Type {
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			end := w.closing(i, to)
			b.WriteString(w.text(i) + w.list(i+1, end))
			if end < to {
				b.WriteString(w.text(end))
			}
			i = end
		default:
			if w.repeats(i) && i+1 < to {
				b.WriteString("|" + repeatName + "(" + w.all[i+1].Val + ") ")
				i++
				continue
			}
			b.WriteString(w.text(i))
		}
	}
	return b.String()
}

// closing finds the bracket that belongs to the one at i, to when there is none.
func (w *rewriter) closing(i, to int) int {
	depth := 0
	for ; i < to; i++ {
		switch w.all[i].Type {
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			depth++
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return to
}

// list rewrites what stands between brackets, part by part.
func (w *rewriter) list(from, to int) string {
	var b strings.Builder
	start := from
	for i := from; i <= to; i++ {
		if i < to {
			switch w.all[i].Type {
			case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
				i = w.closing(i, to) // the closing one ends no part
				continue
			case tokens.Comma, tokens.Colon, tokens.Assign:
			default:
				continue
			}
		}
		b.WriteString(w.choice(start, min(i, to)))
		if i < to {
			b.WriteString(w.text(i))
		}
		start = i + 1
	}
	return b.String()
}

// choice rewrites a part that may be a if c else b.
func (w *rewriter) choice(from, to int) string {
	cond := w.word("if", from, to)
	if cond == to || cond == from {
		return w.group(from, to)
	}
	other, alternative := w.word("else", cond, to), "none"
	if other < to {
		alternative = w.choice(other+1, to)
	}
	return "((" + w.group(cond+1, other) + ") and [" + w.group(from, cond) + "] or [" + alternative + "])[0]"
}

// word finds a name outside of inner brackets, to when there is none.
func (w *rewriter) word(name string, from, to int) int {
	for i := from; i < to; i++ {
		switch t := w.all[i]; t.Type {
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			i = w.closing(i, to)
		case tokens.Name:
			if t.Val == name {
				return i
			}
		}
	}
	return to
}
