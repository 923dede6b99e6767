package translate

import (
	"slices"
	"sync"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// entry is a token of the draft's log.
type entry struct {
	token      Token
	end        int     // in the symbols
	confidence float32 // of what the draft chose itself
	second     Token   // of the target, in the place of what begins with this token; nothing: none
}

// sequence is one session's log in both vocabularies; mu is held while it is at work. What the draft has written beyond the target's
// log is kept as long as the log agrees with it.
type sequence struct {
	mu      sync.Mutex
	w       *words
	setup   backend.Setup
	log     []Token  // of the target, as last told
	ends    []int    // after each of its tokens, in syms
	syms    []symbol // what the log says
	d       []entry
	text    []symbol // what d says; text[:from] are symbols that d no longer has
	from    int
	agreed  int     // of text and syms, at least
	held    []Token // whose rows the inner model holds
	sampler *speculative.Sampler
	logits  []float32 // of the target's vocabulary; minus infinity between choices
}

// tell brings the log to log[:start] + tokens.
func (s *sequence) tell(start int, tokens []Token) {
	s.log = s.log[:start]
	s.ends = s.ends[:start]
	n := 0
	if start > 0 {
		n = s.ends[start-1]
	}
	s.syms = s.syms[:n]
	s.agreed = min(s.agreed, n)
	for _, k := range tokens {
		start := len(s.log) == 0 || s.w.target.IsControl(s.log[len(s.log)-1])
		s.syms = s.w.symbols(s.syms, k, start)
		s.log, s.ends = append(s.log, k), append(s.ends, len(s.syms))
	}
}

// align makes the draft's log agree with the target's. Of the draft's log as much stays as can, so
// that its rows do.
func (s *sequence) align() {
	s.agree()
	if s.agreed == len(s.syms) && len(s.d) > 0 {
		return // the draft has said at least that much
	}
	covered := len(s.syms) - partial(s.syms)
	keep := 0
	if s.agreed >= s.from {
		keep = s.wordBefore(min(s.agreed, covered))
	}
	if keep == 0 {
		s.from = 0
		s.d = s.d[:0]
		if bos, ok := s.w.draft.BOS(); ok && s.w.draft.AddBOS() {
			s.d = append(s.d, entry{token: bos, second: nothing})
		}
	} else {
		s.d = s.d[:keep]
	}
	at := s.from
	if n := len(s.d); n > 0 {
		at = s.d[n-1].end
	}
	s.text = append(s.text[:0], s.syms[:covered]...)
	s.agreed = covered
	s.spell(at, covered)
}

// Tokens of the draft that are taken back at most to find where a word begins: how a text is cut
// depends on the word that it goes on with.
const longestWord = 16

// wordBefore returns how many tokens of the draft stay when the logs agree up to n: those before the
// word that is changed.
func (s *sequence) wordBefore(n int) int {
	k, _ := slices.BinarySearchFunc(s.d, n+1, func(e entry, n int) int { return e.end - n })
	for back := 0; k > 0; back++ {
		at := s.d[k-1].end
		if partial(s.syms[:at]) == 0 && (back >= longestWord || s.beginsWord(at)) {
			break
		}
		k--
	}
	return k
}

func (s *sequence) beginsWord(at int) bool {
	return at >= len(s.syms) || s.syms[at] >= control || s.syms[at] == ' ' || s.syms[at] == '\n' || begins(s.syms[:at])
}

// spell appends the draft's tokens for syms[at:to].
func (s *sequence) spell(at, to int) {
	for at < to {
		if k := s.syms[at]; k >= control {
			at++
			s.spellControl(k-control, at)
			continue
		}
		n := at
		for n < to && s.syms[n] < control {
			n++
		}
		s.spellText(textOf(s.syms[at:n]), at, begins(s.syms[:at]))
		at = n
	}
}

// spellControl says a control token of the target: by the draft's own, or else in letters. The one
// that begins a text is the draft's affair.
func (s *sequence) spellControl(k Token, end int) {
	if bos, ok := s.w.target.BOS(); ok && k == bos && end == 1 {
		if len(s.d) > 0 {
			s.d[len(s.d)-1].end = end
			return
		}
		if _, ok := s.w.toDraft[k]; !ok {
			return
		}
	}
	if d, ok := s.w.toDraft[k]; ok {
		s.d = append(s.d, entry{token: d, end: end, second: nothing})
		return
	}
	for _, d := range s.w.draft.Encode(s.w.target.Piece(k), tokenizer.Options{Continue: true}) {
		s.d = append(s.d, entry{token: d, end: end, second: nothing})
	}
}

// spellText appends the tokens of a text that begins at a symbol. Where the draft cannot spell it all,
// the ends of the tokens are guesses.
func (s *sequence) spellText(text []byte, at int, start bool) {
	tokens := s.w.draft.Encode(string(text), tokenizer.Options{Continue: !start})
	end, to := at, at+len(text)
	for i, d := range tokens {
		n := len(s.w.draft.Bytes(d))
		if i == 0 && start && s.w.draft.SpacePrefix() {
			n = max(0, n-1)
		}
		if end = min(end+n, to); i == len(tokens)-1 {
			end = to
		}
		s.d = append(s.d, entry{token: d, end: end, second: nothing})
	}
}

// ahead is what the draft has said beyond the target's log.
func (s *sequence) ahead() []symbol {
	if len(s.text) <= len(s.syms) {
		return nil
	}
	return s.text[len(s.syms):]
}

// agree counts on how far the draft's text and the log agree.
func (s *sequence) agree() {
	for s.agreed < len(s.syms) && s.agreed < len(s.text) && s.syms[s.agreed] == s.text[s.agreed] {
		s.agreed++
	}
}

// strays says that the draft's text is no longer that of the log.
func (s *sequence) strays() bool {
	s.agree()
	return s.agreed < len(s.syms) && s.agreed < len(s.text)
}

// retract takes back what the draft has said beyond the log, or in its place.
func (s *sequence) retract() {
	s.agree()
	n := len(s.d)
	for n > 1 && s.d[n-1].end > s.agreed {
		n--
	}
	s.d, s.text = s.d[:n], s.text[:s.agreed]
}

// proposal is what the draft's text says in the target's tokens.
type proposal struct {
	tokens  []Token // as far as they can be told
	width   int     // symbols of the first one
	settled bool    // more text will hardly change the first one
}

// propose reads what the draft is ahead.
func (s *sequence) propose() proposal {
	next := s.ahead()
	if len(next) == 0 {
		return proposal{}
	}
	if k := next[0]; k >= control {
		return proposal{tokens: []Token{k - control}, width: 1, settled: true}
	}
	n := slices.IndexFunc(next, func(k symbol) bool { return k >= control })
	closed := n >= 0
	if !closed {
		n = len(next)
	}
	head := s.unfinished()
	b := textOf(s.text[len(s.syms)-head : len(s.syms)+n])
	if !closed {
		b = b[:whole(b)]
	}
	if len(b) <= head {
		return proposal{}
	}
	start := head == 0 && (len(s.log) == 0 || s.w.target.IsControl(s.log[len(s.log)-1]))
	tokens := s.w.target.Encode(string(b), tokenizer.Options{Continue: !start})
	for at := 0; at < head; {
		if len(tokens) > 0 {
			at += len(s.w.target.Bytes(tokens[0]))
			tokens = tokens[1:]
		}
		if at > head || len(tokens) == 0 { // the log has cut the character elsewhere
			return s.oneByte(b[head])
		}
	}
	p := proposal{tokens: tokens, width: len(s.w.target.Bytes(tokens[0]))}
	if start && s.w.target.SpacePrefix() {
		p.width--
	}
	p.settled = closed || len(s.syms)+p.width <= s.lastWord(len(s.syms)-head+len(b))
	return p
}

// oneByte proposes the token of a single byte.
func (s *sequence) oneByte(b byte) proposal {
	if k := s.w.bytes[b]; k >= 0 {
		return proposal{tokens: []Token{k}, width: 1, settled: true}
	}
	return proposal{}
}

// unfinished is how many symbols at the end of the log belong to tokens since a character was whole.
func (s *sequence) unfinished() int {
	at := len(s.syms)
	for i := len(s.log) - 1; i >= 0 && partial(s.syms[:at]) > 0; i-- {
		at = 0
		if i > 0 {
			at = s.ends[i-1]
		}
	}
	return len(s.syms) - at
}

// lastWord is where the last token of the draft begins that ends by n.
func (s *sequence) lastWord(n int) int {
	k, _ := slices.BinarySearchFunc(s.d, n+1, func(e entry, n int) int { return e.end - n })
	if k > 1 {
		return s.d[k-2].end
	}
	return s.from
}

// choice is the first token of a proposal with what the draft thought of it.
func (s *sequence) choice(p proposal) speculative.Choice {
	c := speculative.Choice{Token: p.tokens[0], Confidence: 1, Second: nothing}
	a, b := len(s.syms), len(s.syms)+max(p.width, 1)
	k, _ := slices.BinarySearchFunc(s.d, a+1, func(e entry, n int) int { return e.end - n })
	for ; k < len(s.d); k++ {
		at := s.from
		if k > 0 {
			at = s.d[k-1].end
		}
		if at >= b {
			break
		}
		if at < a {
			continue // begun by the token before
		}
		c.Confidence *= s.d[k].confidence
		if at == a && s.d[k].second != c.Token {
			c.Second = s.d[k].second
		}
	}
	return c
}
