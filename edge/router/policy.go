package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"
)

// Place is where a rule sends an answer.
type Place string

// The places.
const (
	Device      Place = "device"      // to the draft alone, for good
	TryDevice   Place = "try_device"  // to the draft; the cloud may go on
	Cooperative Place = "cooperative" // to draft and target together
	Cloud       Place = "cloud"       // to the target alone
)

// Decision is what a policy says.
type Decision struct {
	To   Place
	Rule string
	Why  string
}

// Policy is a set of rules, ready to be asked. It is safe for concurrent use.
type Policy struct {
	// Window is over how many tokens the draft's confidence is taken.
	Window int
	// Hold is how many tokens of the draft are held back until the answer is over or the cloud takes over;
	// negative: all.
	Hold   int
	begin  []rule
	during []rule
}

type rule struct {
	Decision
	program cel.Program
}

// Bounds on a policy.
const (
	MaxPolicy     = 1 << 20 // bytes
	maxRules      = 256
	maxExpression = 4096  // code points
	maxNesting    = 64    // of an expression
	costLimit     = 10000 // of evaluating one, in CEL's units
	maxWindow     = 4096
)

// ErrPolicy says that a policy is not valid; the message says where and what to change.
var ErrPolicy = errors.New("invalid routing policy")

// parser collects what is wrong with a policy.
type parser struct {
	file string
	env  *cel.Env
	errs []string
}

func (p *parser) fail(line, column int, format string, a ...any) {
	p.errs = append(p.errs, fmt.Sprintf("%s:%d:%d: %s", p.file, line, column, fmt.Sprintf(format, a...)))
}

// Parse reads a policy; file is its name in errors, which wrap ErrPolicy and give line and column.
func Parse(file string, text []byte) (*Policy, error) {
	if len(text) > MaxPolicy {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are taken", ErrPolicy, file, len(text), MaxPolicy)
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%w: %s: %s", ErrPolicy, file, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	p := &parser{file: file, env: env}
	out := &Policy{Window: 16, Hold: -1}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%w: %s holds no rules: `outrider router policy` prints an example", ErrPolicy, file)
	}
	p.policy(doc.Content[0], out)
	if len(p.errs) == 0 && len(out.begin) == 0 {
		p.fail(1, 1, "there are no rules under begin")
	}
	if len(p.errs) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrPolicy, strings.Join(p.errs, "; "))
	}
	return out, nil
}

// environment declares the facts.
func environment() (*cel.Env, error) {
	options := []cel.EnvOption{cel.CrossTypeNumericComparisons(true), cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxNesting), cel.Variable("known", cel.ListType(cel.StringType))}
	for _, f := range catalogue {
		t := map[Kind]*cel.Type{Number: cel.DoubleType, Word: cel.StringType, Flag: cel.BoolType, Words: cel.ListType(cel.StringType)}[f.Kind]
		options = append(options, cel.Variable(f.Name, t))
	}
	return cel.NewEnv(options...)
}

func (p *parser) policy(n *yaml.Node, out *Policy) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "window":
			p.number(v, &out.Window, 1, maxWindow)
		case "hold":
			p.number(v, &out.Hold, -1, maxWindow)
		case "begin":
			out.begin = p.rules(v, []Place{Device, TryDevice, Cooperative, Cloud})
		case "during":
			out.during = p.rules(v, []Place{Cooperative, Cloud})
		default:
			p.fail(key.Line, key.Column, "%q is unknown: there are window, hold, begin and during", key.Value)
		}
	}
}

func (p *parser) number(n *yaml.Node, to *int, lo, hi int) {
	if err := n.Decode(to); err != nil || *to < lo || *to > hi {
		p.fail(n.Line, n.Column, "%q must be a whole number from %d to %d", n.Value, lo, hi)
	}
}

func (p *parser) rules(n *yaml.Node, places []Place) []rule {
	if n.Kind != yaml.SequenceNode {
		p.fail(n.Line, n.Column, "must be a list of rules")
		return nil
	}
	if len(n.Content) > maxRules {
		p.fail(n.Line, n.Column, "%d rules, at most %d are taken", len(n.Content), maxRules)
		return nil
	}
	var out []rule
	for _, item := range n.Content {
		if item.Kind != yaml.MappingNode {
			p.fail(item.Line, item.Column, "must be a rule with rule, when and to")
			continue
		}
		out = append(out, p.rule(item, places))
	}
	return out
}

func (p *parser) rule(n *yaml.Node, places []Place) rule {
	var r rule
	at := n
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, v := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "rule":
			r.Rule = v.Value
		case "why":
			r.Why = v.Value
		case "to":
			if r.To = Place(v.Value); !slices.Contains(places, r.To) {
				p.fail(v.Line, v.Column, "%q is no place here: use one of %s", v.Value, join(places))
			}
		case "when":
			at = v
			r.program = p.compile(v)
		default:
			p.fail(key.Line, key.Column, "%q is unknown: a rule has rule, when, to and why", key.Value)
		}
	}
	switch {
	case r.Rule == "":
		p.fail(n.Line, n.Column, "the rule has no name: give it one with rule")
	case r.To == "":
		p.fail(n.Line, n.Column, "rule %s says no place: give it one with to", r.Rule)
	case r.program == nil && at == n:
		p.fail(n.Line, n.Column, "rule %s says not when it holds: give it when (true: always)", r.Rule)
	}
	if r.Why == "" {
		r.Why = "rule " + r.Rule + " holds"
	}
	return r
}

func join(places []Place) string {
	var words []string
	for _, w := range places {
		words = append(words, string(w))
	}
	return strings.Join(words, ", ")
}

// compile turns a condition into a program; nil after an error.
func (p *parser) compile(n *yaml.Node) cel.Program {
	ast, issues := p.env.Compile(n.Value)
	if issues != nil && issues.Err() != nil {
		for _, e := range issues.Errors() {
			line, column := n.Line, n.Column+e.Location.Column()
			switch {
			case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
				line, column = n.Line+e.Location.Line(), e.Location.Column()+1
			case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
				column++
			}
			p.fail(line, column, "%s", strings.ReplaceAll(e.Message, "\n", " "))
		}
		return nil
	}
	if ast.OutputType() != cel.BoolType {
		p.fail(n.Line, n.Column, "the condition is a %s, must be true or false", ast.OutputType())
		return nil
	}
	program, err := p.env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		p.fail(n.Line, n.Column, "%s", strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	return program
}

// Begin says where an answer begins: by the first rule that holds, and together when none does.
func (p *Policy) Begin(f Facts) Decision {
	if d, ok := first(p.begin, f); ok {
		return d
	}
	return Decision{To: Cooperative, Why: "no rule of the policy holds"}
}

// During says whether the cloud takes over now from the draft.
func (p *Policy) During(f Facts) (Decision, bool) { return first(p.during, f) }

func first(rules []rule, f Facts) (Decision, bool) {
	if len(rules) == 0 {
		return Decision{}, false
	}
	vars := make(map[string]any, len(f)+1)
	known := make([]string, 0, len(f))
	for name, v := range f {
		vars[name] = v
		known = append(known, name)
	}
	vars["known"] = known
	for _, r := range rules {
		// An error is a fact that is unknown, or an evaluation that costs too much: the rule does not hold.
		if out, _, err := r.program.Eval(vars); err == nil && out.Value() == true {
			return r.Decision, true
		}
	}
	return Decision{}, false
}
