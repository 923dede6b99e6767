package chat

import (
	"fmt"

	"github.com/nikolalohinski/gonja/v2/builtins"
	structures "github.com/nikolalohinski/gonja/v2/builtins/control_structures"
	"github.com/nikolalohinski/gonja/v2/exec"
	"github.com/nikolalohinski/gonja/v2/nodes"
	"github.com/nikolalohinski/gonja/v2/parser"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// controlStructures are the statements that templates may use: those that write text, each accounting
// for itself. What loads other templates is not among them.
func controlStructures() *exec.ControlStructureSet {
	all := make(map[string]parser.ControlStructureParser)
	depth := 0
	for _, name := range []string{"for", "if", "set", "macro", "call", "filter", "with", "raw", "do", "break", "continue"} {
		if parse, ok := builtins.ControlStructures.Get(name); ok {
			all[name] = nested(&depth, watch(name, parse))
		}
	}
	all["generation"] = nested(&depth, parseGeneration)
	return exec.NewControlStructureSet(all)
}

// nested bounds how deep statements of one template, which is parsed by one goroutine, stand in one another.
func nested(depth *int, parse parser.ControlStructureParser) parser.ControlStructureParser {
	return func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		*depth++
		defer func() { *depth-- }()
		if *depth > maxDepth {
			return nil, fmt.Errorf("statements stand more than %d deep in one another", maxDepth)
		}
		return parse(p, args)
	}
}

// statement is a control structure that accounts for itself.
type statement struct {
	exec.ControlStructure
	target string // what it sets
}

// watch makes a parser whose statements account for themselves.
func watch(name string, parse parser.ControlStructureParser) parser.ControlStructureParser {
	return func(p, args *parser.Parser) (nodes.ControlStructure, error) {
		s := &statement{}
		if t := args.Current(); name == "set" && t != nil {
			s.target = t.Val
		}
		parsed, err := parse(p, args)
		if err != nil {
			return nil, err
		}
		switch c := parsed.(type) {
		case *structures.ForControlStructure:
			c.BodyWrapper = guarded(c.BodyWrapper)
		case *structures.MacroControlStructure:
			c.Wrapper = guarded(c.Wrapper)
		}
		cs, ok := parsed.(exec.ControlStructure)
		if !ok {
			return parsed, nil
		}
		s.ControlStructure = cs
		return s, nil
	}
}

// Execute implements exec.ControlStructure.
func (s *statement) Execute(r *exec.Renderer, tag *nodes.ControlStructureBlock) error {
	b := budgetOf(r.Environment.Context)
	if err := b.step(); err != nil {
		return err
	}
	if err := s.ControlStructure.Execute(r, tag); err != nil {
		return err
	}
	if s.target == "" {
		return nil
	}
	v, _ := r.Environment.Context.Get(s.target)
	return b.fits(weigh(exec.ToValue(v), 0))
}

// guard is a body that runs repeatedly: of a loop or a macro.
type guard struct{ body *nodes.Wrapper }

func guarded(body *nodes.Wrapper) *nodes.Wrapper {
	g := &guard{body}
	return &nodes.Wrapper{Location: body.Location, EndTag: body.EndTag, Trim: body.Trim, LStrip: body.LStrip,
		Nodes: []nodes.Node{&nodes.ControlStructureBlock{Location: body.Location, ControlStructure: g}}}
}

// Position implements nodes.Node.
func (g *guard) Position() *tokens.Token { return g.body.Position() }

func (g *guard) String() string { return g.body.String() }

// Execute implements exec.ControlStructure.
func (g *guard) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	b := budgetOf(r.Environment.Context)
	if err := b.enter(); err != nil {
		return err
	}
	defer func() { b.depth-- }()
	if _, ok := r.Output.(*counted); !ok {
		r.Output = &counted{r.Output, b}
	}
	return nodes.Walk(r, g.body)
}

// generation is {% generation %}…{% endgeneration %}, which Hugging Face uses to find the assistant's
// text in training: it writes its body.
type generation struct {
	at   *tokens.Token
	body *nodes.Wrapper
}

func parseGeneration(p, args *parser.Parser) (nodes.ControlStructure, error) {
	g := &generation{at: p.Current()}
	if !args.End() {
		return nil, args.Error("generation takes no arguments", args.Current())
	}
	body, end, err := p.WrapUntil("endgeneration")
	if err != nil {
		return nil, err
	}
	if !end.End() {
		return nil, end.Error("endgeneration takes no arguments", nil)
	}
	g.body = body
	return g, nil
}

// Position implements nodes.Node.
func (g *generation) Position() *tokens.Token { return g.at }

func (g *generation) String() string { return "generation" }

// Execute implements exec.ControlStructure.
func (g *generation) Execute(r *exec.Renderer, _ *nodes.ControlStructureBlock) error {
	return r.ExecuteIfWrapper(g.body)
}
