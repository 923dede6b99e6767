package lookup

// follower keeps the place in a prediction. It is copied to follow a path.
type follower struct {
	text  []Token
	index index
	at    int  // what comes next is text[at]
	run   int  // tokens before it that agree
	begun bool // a token was seen
	lost  int  // tokens since the last that agreed
}

const (
	near    = 24 // how far ahead a place is looked for
	maxLost = 3  // tokens that may be other ones in a row before the place is lost
)

func (f *follower) next() (t Token, class int, ok bool) {
	switch {
	case f.at >= len(f.text) || f.lost > maxLost:
		return 0, 0, false
	case !f.begun:
		return f.text[f.at], begin, true
	}
	return f.text[f.at], classOf(f.run), true
}

// advance takes the last token of full, all tokens so far.
func (f *follower) advance(full []Token) {
	if len(f.text) == 0 {
		return
	}
	f.begun = true
	t := full[len(full)-1]
	if f.lost <= maxLost && f.at < len(f.text) && f.text[f.at] == t {
		f.at, f.run, f.lost = f.at+1, min(f.run+1, maxMatch), 0
		return
	}
	f.realign(full)
}

// realign finds the place again: a little further on, where at least two tokens agree, or else one;
// or anywhere; or else it takes the token for another word in the same place.
func (f *follower) realign(full []Token) {
	end, length := 0, 0
	for e := max(1, f.at-near/4); e <= min(f.at+near, len(f.text)); e++ {
		n := match(f.text[:e], full)
		if n > length && (n > 1 || f.lost <= maxLost && e > f.at) { // one alone says little
			end, length = e, n
		}
	}
	if length < 2 {
		if e, n := f.index.find(f.text, full, len(f.text)); n > shortKey || n == shortKey && f.lost > maxLost {
			end, length = e, n
		}
	}
	if length > 0 {
		f.at, f.run, f.lost = end, length, 0
		return
	}
	f.run = 0
	if f.lost++; f.lost <= maxLost && f.at < len(f.text) {
		f.at++
	}
}
