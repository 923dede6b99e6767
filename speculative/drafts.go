package speculative

import "slices"

// Drafts is what a draft model beside the verifier has said of one session, and which rows the draft
// holds of it: those of the log, and of a chain that goes on from it. The zero value holds none.
type Drafts struct {
	held int     // of the log, leading rows
	tail []Token // rows after those
	said []said  // by rising length
}

// said is the draft's choice after so many rows.
type said struct {
	after int
	c     Choice
}

// settle moves what the log has decided from the tail to the log's rows.
func (d *Drafts) settle(log []Token) {
	for len(d.tail) > 0 && d.held < len(log) && d.tail[0] == log[d.held] {
		d.held, d.tail = d.held+1, d.tail[1:]
	}
	if d.held < len(log) && len(d.tail) > 0 {
		d.drop(d.held)
	}
}

// drop forgets the rows beyond n.
func (d *Drafts) drop(n int) {
	if n < d.held {
		d.held, d.tail = n, nil
	} else {
		d.tail = d.tail[:min(len(d.tail), n-d.held)]
	}
	for len(d.said) > 0 && d.said[len(d.said)-1].after > n {
		d.said = d.said[:len(d.said)-1]
	}
}

// agree returns how many of the rows agree with log and path.
func (d *Drafts) agree(log, path []Token) int {
	d.settle(log)
	if d.held < len(log) {
		return d.held
	}
	return d.held + Common(d.tail, path)
}

// Guess implements Own.
func (d *Drafts) Guess(log, path []Token) (Choice, bool) {
	n := len(log) + len(path)
	if d.agree(log, path) < n {
		return Choice{}, false
	}
	for _, s := range slices.Backward(d.said) {
		if s.after == n {
			return s.c, true
		}
	}
	return Choice{}, false
}

// Rows is how many rows the draft has to run for its choice after log and path, at least 1.
func (d *Drafts) Rows(log, path []Token) int {
	return len(log) + len(path) - min(d.agree(log, path), len(log)+len(path)-1)
}

// Next returns the rows to run next for the choice after log and path, at most most of them: those of
// tokens from position start on, beyond which the draft holds none then. whole: these are all.
func (d *Drafts) Next(log, path []Token, most int) (start int, tokens []Token, whole bool) {
	n := d.Rows(log, path)
	start = len(log) + len(path) - n
	tokens = make([]Token, 0, min(n, most))
	for i := start; i < start+cap(tokens); i++ {
		if i < len(log) {
			tokens = append(tokens, log[i])
		} else {
			tokens = append(tokens, path[i-len(log)])
		}
	}
	d.drop(start)
	return start, tokens, len(tokens) == n
}

// Ran notes that the rows that Next returned are held, and, when they were all, the choice after them.
func (d *Drafts) Ran(tokens []Token, whole bool, c Choice) {
	d.tail = append(slices.Clone(d.tail), tokens...)
	if !whole {
		return
	}
	if len(d.said) >= maxSaid {
		d.said = slices.Delete(d.said, 0, len(d.said)-maxSaid/2)
	}
	d.said = append(d.said, said{d.held + len(d.tail), c})
}

// maxSaid bounds the choices that are remembered.
const maxSaid = 4 * DefaultWindow

// Moved says that a session's log is another one from now on, as after a resume: rows of what both begin with stay.
func (d *Drafts) Moved(from, to []Token) {
	d.settle(from)
	if n := Common(from, to); n < d.held {
		d.drop(n)
	}
}

// Held is how many rows the draft holds.
func (d *Drafts) Held() int { return d.held + len(d.tail) }

// Lost says that the draft holds no rows any more.
func (d *Drafts) Lost() { *d = Drafts{} }
