package grammar

import (
	"math/big"
	"strings"
)

// interval bounds a number; nil: no bound.
type interval struct {
	lo, hi         *big.Rat
	openLo, openHi bool
}

// maxExponent bounds what minimum and the like may be written with.
const maxExponent = 30

// decimal reads a JSON number exactly.
func decimal(text string) (*big.Rat, bool) {
	mantissa, exponent, found := strings.Cut(strings.ToLower(text), "e")
	if len(mantissa) > 2*maxExponent || len(exponent) > 4 {
		return nil, false
	}
	if found {
		if e, ok := new(big.Int).SetString(strings.TrimPrefix(exponent, "+"), 10); !ok || !e.IsInt64() || e.Int64() > maxExponent || e.Int64() < -maxExponent {
			return nil, false
		}
	}
	return new(big.Rat).SetString(text)
}

func (i *interval) above(v *big.Rat, open bool) {
	if i.lo == nil || v.Cmp(i.lo) > 0 || v.Cmp(i.lo) == 0 && open {
		i.lo, i.openLo = v, open
	}
}

func (i *interval) below(v *big.Rat, open bool) {
	if i.hi == nil || v.Cmp(i.hi) < 0 || v.Cmp(i.hi) == 0 && open {
		i.hi, i.openHi = v, open
	}
}

func (i *interval) bounded() bool { return i.lo != nil || i.hi != nil }

func (i *interval) holds(v *big.Rat) bool {
	if i.lo != nil && (v.Cmp(i.lo) < 0 || i.openLo && v.Cmp(i.lo) == 0) {
		return false
	}
	return i.hi == nil || v.Cmp(i.hi) < 0 || !i.openHi && v.Cmp(i.hi) == 0
}

// numberIn emits the numbers of an interval, without exponents.
func (b *builder) numberIn(i interval, whole bool, next int32) int32 {
	zero := new(big.Rat)
	var out []int32
	if i.hi == nil || i.hi.Sign() > 0 || i.hi.Sign() == 0 && !i.openHi {
		m := magnitude{b: b, whole: whole, next: next, openLo: i.openLo, openHi: i.openHi}
		lo := i.lo
		if lo == nil || lo.Sign() < 0 {
			lo, m.openLo = zero, false
		}
		out = append(out, m.emit(lo, i.hi))
	}
	if i.lo == nil || i.lo.Sign() < 0 {
		m := magnitude{b: b, whole: whole, next: next, openLo: i.openHi, openHi: i.openLo}
		lo, hi := zero, (*big.Rat)(nil)
		if i.hi != nil && i.hi.Sign() <= 0 {
			lo = new(big.Rat).Neg(i.hi)
		} else {
			m.openLo = false
		}
		if i.lo != nil {
			hi = new(big.Rat).Neg(i.lo)
		}
		out = append(out, b.byteRange('-', '-', m.emit(lo, hi)))
	}
	return b.alt(out...)
}

// magnitude emits the numbers from lo to hi, both 0 or more, digit by digit: while all digits so far
// are those of a bound, that bound limits the next one.
type magnitude struct {
	b              *builder
	whole          bool
	next           int32
	openLo, openHi bool
	lo, hi         digits
	unbounded      bool
	memo           map[place]int32
}

type digits struct{ whole, fraction string }

func digitsOf(r *big.Rat) digits {
	n, _ := r.FloatPrec()
	w, f, _ := strings.Cut(r.FloatString(n), ".")
	return digits{w, strings.TrimRight(f, "0")}
}

func (d digits) at(i int) byte {
	if i < len(d.fraction) {
		return d.fraction[i]
	}
	return '0'
}

// rest says whether digits other than 0 follow the i-th of the fraction.
func (d digits) rest(i int) bool { return i < len(d.fraction) }

type place struct {
	length, i int // length of the whole part, 0: within the fraction
	low, high bool
}

func (m *magnitude) emit(lo, hi *big.Rat) int32 {
	m.memo = map[place]int32{}
	m.lo, m.unbounded = digitsOf(lo), hi == nil
	most := max(maxDigits, len(m.lo.whole))
	if hi != nil {
		if lo.Cmp(hi) > 0 {
			return pcFail
		}
		m.hi = digitsOf(hi)
		most = len(m.hi.whole)
	}
	shortest := len(m.lo.whole)
	alternatives := []int32{m.wholePart(place{shortest, 0, true, hi != nil && most == shortest})}
	if hi != nil && most > shortest {
		alternatives = append(alternatives, m.wholePart(place{most, 0, false, true}))
		most--
	}
	if most > shortest { // lengths between: free
		end := m.end(0, false, false)
		alternatives = append(alternatives, m.b.byteRange('1', '9', m.b.repeat(m.b.digit(), shortest, most-1, end)))
	}
	return m.b.alt(alternatives...)
}

func (m *magnitude) wholePart(p place) int32 {
	if p.i == p.length {
		return m.end(0, p.low, p.high)
	}
	if !p.low && !p.high {
		left := p.length - p.i
		return m.b.repeat(m.b.digit(), left, left, m.end(0, false, false))
	}
	if pc, ok := m.memo[p]; ok {
		return pc
	}
	from, to := byte('0'), byte('9')
	if p.i == 0 && p.length > 1 {
		from = '1'
	}
	if p.low {
		from = max(from, m.lo.whole[p.i])
	}
	if p.high {
		to = m.hi.whole[p.i]
	}
	var edges []edge
	for d := from; d <= to; d++ {
		edges = append(edges, edge{d, d, m.wholePart(place{p.length, p.i + 1, p.low && d == m.lo.whole[p.i], p.high && d == m.hi.whole[p.i]})})
	}
	pc := m.b.edges(edges...)
	m.memo[p] = pc
	return pc
}

// end is what may follow i digits of the fraction: the end, or more of them.
func (m *magnitude) end(i int, low, high bool) int32 {
	var out []int32
	if !(low && (m.openLo || m.lo.rest(i))) && !(high && m.openHi && !m.hi.rest(i)) {
		out = append(out, m.next)
	}
	if m.whole {
		return m.b.alt(out...)
	}
	switch {
	case !low && !high && i == 0:
		out = append(out, m.b.byteRange('.', '.', m.b.repeat(m.b.digit(), 1, maxDigits, m.next)))
	case !low && !high:
		out = []int32{m.b.repeat(m.b.digit(), 0, maxDigits, m.next)}
	case i == 0:
		out = append(out, m.b.byteRange('.', '.', m.fraction(0, low, high)))
	case i < 2*maxExponent+maxDigits:
		out = append(out, m.fraction(i, low, high))
	}
	return m.b.alt(out...)
}

func (m *magnitude) fraction(i int, low, high bool) int32 {
	p := place{0, i, low, high}
	if pc, ok := m.memo[p]; ok {
		return pc
	}
	from, to := byte('0'), byte('9')
	if low {
		from = m.lo.at(i)
	}
	if high {
		to = m.hi.at(i)
	}
	var edges []edge
	for d := from; d <= to; d++ {
		edges = append(edges, edge{d, d, m.end(i+1, low && d == m.lo.at(i), high && d == m.hi.at(i))})
	}
	pc := m.b.edges(edges...)
	m.memo[p] = pc
	return pc
}
