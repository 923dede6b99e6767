package speculative

import (
	"crypto/sha256"
	"encoding/binary"
)

// Prefix is what one session leaves for another whose log begins alike.
type Prefix struct {
	Log  []Token // not to be changed
	Held int     // leading tokens whose rows the model holds
	Keep []int32 // rows of the last segment, a tree, that became the log's last held ones; nil: its first
}

// Common is the length of the longest common prefix.
func Common(a, b []Token) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Prefix returns what this session leaves. No segment may be under way.
func (v *Verifier) Prefix() Prefix { return Prefix{Log: v.log, Held: v.held, Keep: v.keep} }

// Inherit takes over, before the first step, the rows that the model holds of another log, as far as
// this log begins with it. The sequence needs this session's setup with its first segment. The last
// token is run in any case: a choice is wanted after it.
func (v *Verifier) Inherit(p Prefix) {
	v.held, v.keep = min(p.Held, Common(p.Log, v.log), len(v.log)-1), p.Keep
	if v.held <= p.Held-len(p.Keep) {
		v.keep = nil // none of the tree's rows is left
	}
	v.usage.Held = v.held
}

// PrefixHashSize is the length of PrefixHash in bytes.
const PrefixHashSize = 16

// PrefixHash names a log's beginning on the wire (Open.prefix_hash).
func PrefixHash(key []byte, log []Token) (sum [PrefixHashSize]byte) {
	h := sha256.New()
	_, _ = h.Write(key) // never fails
	buf := make([]byte, 0, 4096)
	for i, t := range log {
		buf = binary.LittleEndian.AppendUint32(buf, uint32(t))
		if len(buf) == cap(buf) || i == len(log)-1 {
			_, _ = h.Write(buf) // never fails
			buf = buf[:0]
		}
	}
	copy(sum[:], h.Sum(nil))
	return sum
}
