package grammar

// An inst is one step of a nondeterministic automaton with a stack of return addresses and counters.
type inst struct {
	op       uint8
	edges    []edge  // opBytes
	targets  []int32 // opAlt
	x, y     int32   // opCall: the called pc, where to go on; opRepeat: its body, where to go on
	min, max int32   // opRepeat; max < 0: no bound
}

// edge leads to another instruction by one byte.
type edge struct {
	lo, hi byte
	to     int32
}

const (
	opBytes  uint8 = iota // take one byte along any fitting edge
	opAlt                 // any of the targets
	opCall                // run x until it returns, then y
	opRepeat              // run x so often, then y; x takes at least one byte
	opReturn
	opMatch
)

// Every program begins with these.
const (
	pcReturn int32 = iota
	pcMatch
	pcFail // an opBytes without edges
)

// builder makes a program from its end to its beginning: every part is told where to go on.
type builder struct {
	prog   []inst
	size   int
	err    error
	spaces map[int32]int32  // white space that goes on there
	tails  map[edge]int32   // continuation bytes
	shared map[string]int32 // rules of JSON itself
	named  map[int32]string // entries of rules, for messages
}

func newBuilder() *builder {
	return &builder{prog: []inst{{op: opReturn}, {op: opMatch}, {op: opBytes}}, spaces: map[int32]int32{}, tails: map[edge]int32{},
		shared: map[string]int32{}, named: map[int32]string{}}
}

func (b *builder) add(i inst) int32 {
	b.size += 1 + len(i.edges) + len(i.targets)
	if b.size > maxProgram {
		if b.err == nil {
			b.err = constraintError("it is too large: use fewer alternatives, simpler patterns or smaller bounds")
		}
		return pcFail
	}
	b.prog = append(b.prog, i)
	return int32(len(b.prog) - 1)
}

// reserve makes an instruction to be filled in later.
func (b *builder) reserve() int32 { return b.add(inst{op: opBytes}) }

func (b *builder) fill(pc int32, i inst) {
	if b.err == nil {
		b.size += len(i.edges) + len(i.targets)
		b.prog[pc] = i
	}
}

func (b *builder) byteRange(lo, hi byte, next int32) int32 {
	return b.add(inst{op: opBytes, edges: []edge{{lo, hi, next}}})
}

func (b *builder) edges(e ...edge) int32 { return b.add(inst{op: opBytes, edges: e}) }

func (b *builder) literal(s string, next int32) int32 {
	for i := len(s) - 1; i >= 0; i-- {
		next = b.byteRange(s[i], s[i], next)
	}
	return next
}

func (b *builder) alt(targets ...int32) int32 {
	switch len(targets) {
	case 0:
		return pcFail
	case 1:
		return targets[0]
	}
	return b.add(inst{op: opAlt, targets: targets})
}

func (b *builder) call(rule, next int32) int32 {
	if next == pcReturn {
		return b.alt(rule)
	}
	return b.add(inst{op: opCall, x: rule, y: next})
}

// repeat runs body, which ends in pcReturn and takes at least a byte.
func (b *builder) repeat(body int32, least, most int, next int32) int32 {
	if most == 0 {
		return next
	}
	return b.add(inst{op: opRepeat, x: body, y: next, min: int32(least), max: int32(most)})
}

// star runs what make returns any number of times.
func (b *builder) star(next int32, make func(again int32) int32) int32 {
	pc := b.reserve()
	b.fill(pc, inst{op: opAlt, targets: []int32{next, make(pc)}})
	return pc
}

// rule returns the entry of a rule of that name, which ends in pcReturn.
func (b *builder) rule(name string, make func() int32) int32 {
	if pc, ok := b.shared[name]; ok {
		return pc
	}
	pc := b.reserve()
	b.shared[name] = pc
	b.fill(pc, inst{op: opAlt, targets: []int32{make()}})
	return pc
}

// finish takes what leads nowhere out of the program.
func (b *builder) finish(start int32) (*Grammar, error) {
	p := b.prog
	alive := productive(p)
	if !alive[start] {
		place := ""
		for pc, name := range b.named {
			if !alive[pc] && (place == "" || len(name) > len(place) || len(name) == len(place) && name < place) {
				place = name
			}
		}
		if place != "" {
			return nil, constraintError("nothing can be valid at %s", place)
		}
		return nil, constraintError("no text fulfils it")
	}
	g := &Grammar{prog: p, start: start}
	for i := range p {
		n := &p[i]
		var edges []edge
		for _, e := range n.edges {
			if alive[e.to] {
				edges = append(edges, e)
			}
		}
		var targets []int32
		for _, t := range n.targets {
			if alive[t] {
				targets = append(targets, t)
			}
		}
		n.edges, n.targets = edges, targets
		switch {
		case n.op == opRepeat && !alive[n.x]:
			*n = inst{op: opAlt, targets: []int32{n.y}}
		case !alive[i]:
			*n = inst{op: opBytes}
		}
	}
	g.classify()
	g.cache.reset()
	g.cache.dead = &State{}
	for pc := range b.named {
		if b.prog[pc].op == opAlt && len(b.prog[pc].targets) > maxThreads {
			return nil, constraintError("%d alternatives at %s, at most %d are allowed", len(b.prog[pc].targets), b.named[pc], maxThreads)
		}
	}
	return g, nil
}

// productive says from which instructions the end, of the rule or of the text, can be reached.
func productive(p []inst) []bool {
	alive := make([]bool, len(p))
	alive[pcReturn], alive[pcMatch] = true, true
	users := make([][]int32, len(p)) // by what they lead to
	for i := range p {
		n := &p[i]
		for _, e := range n.edges {
			users[e.to] = append(users[e.to], int32(i))
		}
		for _, t := range n.targets {
			users[t] = append(users[t], int32(i))
		}
		if n.op == opCall || n.op == opRepeat {
			users[n.x], users[n.y] = append(users[n.x], int32(i)), append(users[n.y], int32(i))
		}
	}
	work := []int32{pcReturn, pcMatch}
	for len(work) > 0 {
		at := work[len(work)-1]
		work = work[:len(work)-1]
		for _, u := range users[at] {
			n := &p[u]
			switch {
			case alive[u], n.op == opCall && !(alive[n.x] && alive[n.y]),
				n.op == opRepeat && !(alive[n.y] && (n.min == 0 || alive[n.x])):
				continue
			}
			alive[u] = true
			work = append(work, u)
		}
	}
	return alive
}

// classify finds bytes that every instruction treats alike.
func (g *Grammar) classify() {
	var border [257]bool
	for i := range g.prog {
		for _, e := range g.prog[i].edges {
			border[e.lo], border[int(e.hi)+1] = true, true
		}
	}
	class := 0
	g.reps = []byte{0}
	for c := 1; c < 256; c++ {
		if border[c] {
			class++
			g.reps = append(g.reps, byte(c))
		}
		g.class[c] = uint8(class)
	}
}
