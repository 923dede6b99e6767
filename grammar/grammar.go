// Package grammar restricts generated text. It compiles a JSON Schema, a regular expression, a choice
// of texts or tags within free text to a byte-level automaton with a stack, and says of a vocabulary's
// tokens which ones may come next.
//
// Nothing here knows a model. A State is an immutable value and a function of the text so far alone, so
// the branches of a draft tree share it and a restart builds it anew. Whatever a caller writes into a
// constraint, compiling and stepping take bounded time and memory.
package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Token is an id in a vocabulary.
type Token = int32

// Kinds of constraints.
const (
	JSONObject    = "json_object"    // any JSON object; no source
	JSONSchema    = "json_schema"    // JSON that is valid under the schema
	Regex         = "regex"          // RE2 syntax; the whole text matches
	Choice        = "choice"         // one of a JSON array of texts
	StructuralTag = "structural_tag" // free text with tags, see structuralTag
)

// Constraint restricts the generated text.
type Constraint struct {
	Kind   string // one of the constants above
	Source string
}

// ErrConstraint is wrapped by every error of Compile.
var ErrConstraint = errors.New("invalid constraint")

// Bounds on what is compiled; beyond them Compile says what to make smaller.
const (
	MaxSource      = 128 << 10 // bytes
	maxDepth       = 128       // nesting of a schema
	maxProgram     = 200_000   // instructions and edges
	maxGoals       = 5_000     // different (combinations of) schemas
	maxTogether    = 1_000     // schemas that a value must fulfil at once
	maxChoices     = 256       // combinations of anyOf within one schema
	maxPattern     = 20_000    // states of one pattern
	maxPatternWork = 4 << 20
	maxRepeat      = 1 << 24 // of minItems, maxLength and the like
	maxThreads     = 1024    // alternatives that are followed at once
	maxOptionals   = 500     // optional properties one after the other
)

// longestError bounds messages: places and patterns are as long as whoever wrote them likes.
const longestError = 300

func constraintError(format string, a ...any) error {
	text := fmt.Sprintf(format, a...)
	if len(text) > longestError {
		text = strings.ToValidUTF8(text[:longestError/2], "") + "..." + strings.ToValidUTF8(text[len(text)-longestError/2:], "")
	}
	return fmt.Errorf("%w: %s", ErrConstraint, text)
}

// Grammar is a compiled constraint. It is safe for concurrent use.
type Grammar struct {
	prog  []inst
	start int32
	class [256]uint8 // bytes that no instruction tells apart have one class
	reps  []byte     // a byte of each class

	mu    sync.Mutex
	cache cache
}

// Compile compiles a constraint. Errors wrap ErrConstraint and name the place in a schema.
func Compile(c Constraint) (*Grammar, error) {
	if len(c.Source) > MaxSource {
		return nil, constraintError("the source of %s has %d bytes, at most %d are allowed", c.Kind, len(c.Source), MaxSource)
	}
	b := newBuilder()
	var start int32
	var err error
	switch c.Kind {
	case JSONObject:
		if c.Source != "" {
			return nil, constraintError("%s takes no source: use %s", JSONObject, JSONSchema)
		}
		start = b.document(b.call(b.anyObject(), pcMatch))
	case JSONSchema:
		start, err = schemaDocument(b, c.Source)
	case Regex:
		start, err = b.regex(c.Source)
	case Choice:
		start, err = b.choice(c.Source)
	case StructuralTag:
		start, err = b.structuralTag(c.Source)
	default:
		err = constraintError("kind %.64q is unknown: use %s, %s, %s, %s or %s", c.Kind, JSONObject, JSONSchema, Regex, Choice, StructuralTag)
	}
	if err == nil {
		err = b.err
	}
	if err != nil {
		return nil, err
	}
	return b.finish(start)
}

// choice compiles a JSON array of texts.
func (b *builder) choice(source string) (int32, error) {
	var texts []string
	if err := json.Unmarshal([]byte(source), &texts); err != nil || len(texts) == 0 {
		return 0, constraintError("the source of %s must be a JSON array of at least one text", Choice)
	}
	if len(texts) > maxThreads {
		return 0, constraintError("%d choices, at most %d are allowed", len(texts), maxThreads)
	}
	var alternatives []int32
	for _, t := range texts {
		alternatives = append(alternatives, b.literal(t, pcMatch))
	}
	return b.alt(alternatives...), nil
}
