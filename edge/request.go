package edge

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/edge/privacy"
	"github.com/outrider-llm/outrider/grammar"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// Token is an id in the vocabulary.
type Token = speculative.Token

// Fallback says what a request does with no cloud in reach.
type Fallback uint8

// The values of Fallback are those of the wire.
const (
	FallbackDefault Fallback = iota // the edge's configuration decides
	FallbackFail                    // end with ErrNoCloud
	FallbackWait                    // wait for it as long as the request lives
	FallbackDraft                   // the draft alone finishes the answer; its tokens are unverified
)

// ParseFallback reads fail, wait or draft; the empty word is FallbackDefault.
func ParseFallback(s string) (Fallback, error) {
	for f := FallbackDefault; f <= FallbackDraft; f++ {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, requestError("fallback %q is unknown: use fail, wait or draft", s)
}

func (f Fallback) String() string {
	return [...]string{"", "fail", "wait", "draft"}[min(f, 3)]
}

// Message is one turn of a conversation; its role is system, user, assistant or tool.
type Message = chat.Message

// Request asks for one generation. Exactly one of Prompt, Messages and Tokens is set.
type Request struct {
	Prompt            string            // raw text to continue; special tokens written in it are read
	Messages          []Message         // a conversation, answered
	Tools             []json.RawMessage // functions that the answer may call: {"type":"function","function":{…}}
	Variables         map[string]any    // of the chat template, such as enable_thinking
	Tokens            []Token           // a prompt in tokens, taken as it is
	Model             string            // name of a target, or one of ModelNames; empty: the edge's configuration decides
	Mode              Mode
	Hold              int    // tokens of a draft that begins alone in ModeAuto that are held back; negative: all, 0: the policy decides
	User              string // whose it is: nothing kept of one user's serves another's; empty: the edge's one user
	Params            speculative.Params
	MaxTokens         int // 0: until the model ends or the context is full
	Stop              []string
	IgnoreEnd         bool
	Fallback          Fallback
	Deadline          time.Duration         // the generation is given up after this; 0: never
	MaxPassesPerToken float64               // bound on run-ahead; 0: Config.RunAhead
	NoDraft           bool                  // the target works alone
	Rule              speculative.Rule      // when a drafted token is accepted; zero: Config.Rule
	Objective         speculative.Objective // what speculation is to save; zero: Config.Objective
	Depth             int                   // at most so many tokens are drafted beyond the commits; 0: Config.Depth
	Pending           bool                  // also show what the draft expects next
	Prediction        string                // text expected in the answer, a source of proposals
	Constraint        *Constraint           // what the generated text must be; nil: anything
	Logprobs          int                   // 0: none; n: the log probability of each token and of n-1 alternatives
	Privacy           Privacy               // what becomes of personal data, if stricter than Config.Privacy
	personal          map[privacy.Kind]int  // found before anything else
	why               string                // the mode was chosen for the request
}

// Constraint restricts the generated text: json_object, json_schema, regex, choice or structural_tag, and
// its source.
type Constraint = grammar.Constraint

// maxLogprobs: a token's own log probability and 20 alternatives.
const maxLogprobs = 21

// Bounds that every cloud enforces.
const (
	maxStops     = 16
	maxHold      = 1 << 16
	maxStopBytes = 256
	maxUserBytes = 256
)

// validate checks what needs no tokenizer.
func (r *Request) validate() error {
	inputs := 0
	for _, set := range []bool{r.Prompt != "", len(r.Messages) > 0, len(r.Tokens) > 0} {
		if set {
			inputs++
		}
	}
	all, _ := r.bytes()
	switch {
	case all > MaxPromptBytes:
		return requestError("the prompt has %d bytes, at most %d MiB are taken: shorten it", all, MaxPromptBytes>>20)
	case inputs == 0:
		return requestError("the prompt is empty: give it at least one character")
	case inputs > 1:
		return requestError("give a prompt, a conversation or tokens, not several of them")
	case !utf8.ValidString(r.Prompt):
		return requestError("the prompt is not valid UTF-8: convert it first")
	case !utf8.ValidString(r.Prediction):
		return requestError("the prediction is not valid UTF-8: convert it first")
	case r.Logprobs < 0 || r.Logprobs > maxLogprobs:
		return requestError("logprobs is %d, must be 0 (none) to %d (the token's and %d alternatives)", r.Logprobs, maxLogprobs, maxLogprobs-1)
	case r.Constraint != nil && r.IgnoreEnd:
		return requestError("a constrained text ends where it is complete: leave out ignore_end")
	case r.Depth < 0:
		return requestError("depth is %d, must be 0 (the edge decides) or more", r.Depth)
	case r.MaxTokens < 0:
		return requestError("max_tokens is %d, must be 0 (no limit) or more", r.MaxTokens)
	case r.Deadline < 0:
		return requestError("the deadline is %s, must be 0 (none) or more", r.Deadline)
	case !(r.MaxPassesPerToken >= 0 && r.MaxPassesPerToken <= 1):
		return requestError("max_passes_per_token is %g, must be between 0 and 1", r.MaxPassesPerToken)
	case len(r.User) > maxUserBytes:
		return requestError("user has %d bytes, at most %d are allowed", len(r.User), maxUserBytes)
	case r.Hold > maxHold || r.Hold < -1:
		return requestError("hold is %d, must be -1 (all), 0 (the policy decides) or up to %d", r.Hold, maxHold)
	case int(r.Mode) >= len(modeWords):
		return requestError("mode %d is unknown: use 0 (the edge's) to %d", r.Mode, len(modeWords)-1)
	case r.Privacy > PrivacyOnDevice:
		return requestError("privacy %d is unknown: use off, placeholders or on_device", r.Privacy)
	case r.Fallback > FallbackDraft:
		return requestError("fallback %d is unknown: use fail, wait or draft", r.Fallback)
	case len(r.Stop) > maxStops:
		return requestError("%d stop strings, at most %d are allowed", len(r.Stop), maxStops)
	}
	for _, s := range r.Stop {
		if s == "" || len(s) > maxStopBytes || !utf8.ValidString(s) || strings.ContainsRune(s, utf8.RuneError) {
			return requestError("stop string %q: 1 to %d bytes of UTF-8 without U+FFFD are allowed", s, maxStopBytes)
		}
	}
	if err := errors.Join(r.Rule.Validate(), r.Objective.Validate()); err != nil {
		return requestError("%s", oneLine(err.Error()))
	}
	if err := r.Params.Validate(); err != nil {
		return requestError("%s", oneLine(err.Error()))
	}
	return nil
}

// constraint is the request's, without kind when it has none.
func (r *Request) constraint() grammar.Constraint {
	if r.Constraint == nil {
		return grammar.Constraint{}
	}
	return *r.Constraint
}

// prompt turns the request's input into tokens.
func (r *Request) prompt(t *tokenizer.Tokenizer, write func(*tokenizer.Tokenizer, chat.Conversation) ([]Token, error)) ([]Token, error) {
	if len(r.Tokens) > 0 {
		return r.Tokens, nil
	}
	if t == nil {
		return nil, requestError("this edge has no tokenizer: give the prompt in tokens")
	}
	if len(r.Messages) > 0 {
		return write(t, chat.Conversation{Messages: r.Messages, Tools: r.Tools, Variables: r.Variables, Generate: true, Now: time.Now()})
	}
	tokens := t.Encode(r.Prompt, tokenizer.Options{AddBOS: t.AddBOS(), ParseSpecial: true})
	if len(tokens) == 0 {
		return nil, requestError("the prompt holds no tokens: give it at least one character")
	}
	return tokens, nil
}

// GeneratedToken is a decided token.
type GeneratedToken struct {
	ID         Token
	Text       string // text that became complete with this token; may be empty
	Fate       speculative.Fate
	Late       bool // run ahead to, and the draft had proposed the same
	Unverified bool // written by the draft alone
	// Logprob and Top are set when the request asks for them and the target has judged the token: its own
	// log softmax, before penalties, temperature and filters. Top falls.
	Logprob float32
	Top     []TokenLogprob
	told    bool
}

// TokenLogprob is a token with its log probability.
type TokenLogprob struct {
	ID      Token
	Logprob float32
}

// Event is what Generate hands out.
type Event struct {
	Tokens  []GeneratedToken // newly decided, in order
	Pending string           // what the draft expects next; replaces what was told before
	// Verified tells that the target confirmed the first so many tokens of the answer, among them some that had
	// been given out unverified; 0: nothing of the kind.
	Verified int
	Tail     string // text that was held back and follows that of all tokens; on the last event only
	// How it goes. An event of nothing else tells that the link was lost or is back.
	Progress Progress
}

// Summary tells how a generation went. After an error it tells how far it came.
type Summary struct {
	Finish       speculative.Finish
	PromptTokens int
	Tokens       int // generated
	Usage        speculative.Usage
	Resumes      int // streams opened after the first
	Opening      int // bytes of Open messages
	Prefix       int // leading tokens of the prompt that the cloud had, so that they were not sent
	DraftHeld    int // leading tokens whose rows the draft had
	Uplink       int // bytes of Propose and Ack messages
	Downlink     int // bytes of Commit messages
	FirstToken   time.Duration
	Total        time.Duration // to the last token
	Drafted      int           // tokens that the draft wrote
	LookedUp     int           // tokens proposed by Sources
	Sources      [3]Proposed   // by Source
	// Of the prediction: proposed tokens that the answer has, or has not, in their places.
	PredictionAccepted, PredictionRejected int
	// Unverified tokens of the draft alone, and those that were so and have been confirmed since.
	Unverified, Verified int
	Exact                bool // false when a resume met other numerics, unverified tokens were given, the rule is no strict one, or:
	// Rule in force. Lossless: every token has the target's distribution; Exact implies it.
	Rule     speculative.Rule
	Lossless bool
	// ShapeDependent: the target's choices depend on its passes where two tokens score nearly the same.
	ShapeDependent bool
	Target         string
	Numerics       string // of the target
	Pace           string // emulated step cost of the target, empty when none
	Routing        Routing
	Origins        Origins
	Cost           float64  // of the cloud's work, by Config.Prices
	CostCloudOnly  float64  // estimated for the target alone
	Joules         float64  // that the whole device used meanwhile; 0: not known
	Personal       Personal // personal data in the request
}
