package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/outrider-llm/outrider/bench/link"
	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/edge/privacy"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

// tap reads all that an edge tells the cloud.
type tap struct {
	tok      *tokenizer.Tokenizer
	mu       sync.Mutex
	raw      bytes.Buffer
	log      []string // prompts as text
	proposed []Token
}

func (p *tap) option() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, s grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
		st, err := s(ctx, d, cc, m, o...)
		return &tapped{st, p, speculative.Unpacker{Bits: speculative.TokenBits(p.tok.Size()), Window: 64}}, err
	})
}

type tapped struct {
	grpc.ClientStream
	p *tap
	u speculative.Unpacker
}

func (t *tapped) SendMsg(m any) error {
	t.p.hear(m.(proto.Message))
	if r, ok := m.(*outriderv1.DecodeRequest); ok {
		t.p.proposal(r, &t.u)
	}
	return t.ClientStream.SendMsg(m)
}

func (p *tap) hear(m proto.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, _ := proto.Marshal(m)
	p.raw.Write(b)
	r, ok := m.(*outriderv1.DecodeRequest)
	if !ok {
		return
	}
	var ids []Token
	if o := r.GetOpen(); o != nil {
		for _, t := range o.GetTokens() {
			ids = append(ids, Token(t))
		}
		p.log = append(p.log, o.GetStop()...)
	}
	if len(ids) > 0 {
		p.log = append(p.log, p.tok.Decode(ids))
	}
}

// proposal notes what is proposed, packed or not.
func (p *tap) proposal(r *outriderv1.DecodeRequest, u *speculative.Unpacker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := r.GetPropose(); m != nil {
		for _, t := range m.GetTokens() {
			p.proposed = append(p.proposed, Token(t))
		}
		u.Note(&speculative.Propose{Epoch: int(m.GetEpoch()), First: int(m.GetFirst()), Tokens: make([]Token, len(m.GetTokens()))})
	}
	if b := r.GetPacked(); len(b) > 0 {
		if m, err := u.Unpack(b); err == nil {
			p.proposed = append(p.proposed, m.Tokens...)
		}
	}
}

// holds says whether something of what went up has the secret, in letters or in tokens.
func (p *tap) holds(secret string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.raw.Bytes(), []byte(secret)) || strings.Contains(p.tok.Decode(p.proposed), secret) || slices.ContainsFunc(p.log, func(s string) bool { return strings.Contains(s, secret) })
}

// privateRig speaks the demo pair's tokens and listens on the wire.
func privateRig(t *testing.T, o option) (*rig, *tap) {
	tok := demoTokenizer(t)
	p := &tap{tok: tok}
	d, err := privacy.New(privacy.Config{Names: []string{"Ada Lovelace"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, link.Config{}, func(r *rig) {
		r.config.Tokenizer, r.config.Vocabulary, r.config.Detector = tok, "", d
		r.config.Dial = append(r.config.Dial, p.option())
		for _, m := range []*toy{r.target, r.draft} {
			m.info.VocabularySize, m.info.Vocabulary = tok.Size(), tok.Fingerprint()
		}
	}, o)
	return r, p
}

var secrets = []string{"ada@example.org", "4111 1111 1111 1111", "Ada Lovelace", "13812345678", "eve@example.org"}

// A request that says something private in every place that goes up.
func telltale() Request {
	return Request{
		Messages: []Message{
			{Role: "system", Content: "You serve Ada Lovelace."},
			{Role: "user", Content: "My card is 4111 1111 1111 1111 and my mail ada@example.org."},
			{Role: "assistant", ToolCalls: []chat.ToolCall{{ID: "a", Name: "look", Arguments: json.RawMessage(`{"to":"\u0061da@example.org"}`)}}},
			{Role: "tool", ToolCallID: "a", Name: "look", Content: `{"phone": "13812345678"}`},
			{Role: "user", Content: "Go on"},
		},
		Tools:      []json.RawMessage{json.RawMessage(`{"type":"function","function":{"name":"look","description":"asks eve@example.org","parameters":{"type":"object"}}}`)},
		Prediction: "Dear Ada Lovelace, 13812345678", Stop: []string{"eve@example.org"}, MaxTokens: 40,
	}
}

// Under placeholders nothing private goes up, in no place and no form; the tap is seen to hear it without.
func TestPlaceholdersOnTheWire(t *testing.T) {
	for _, action := range []Privacy{PrivacyOff, PrivacyPlaceholders} {
		r, p := privateRig(t, func(r *rig) { r.config.Privacy = action })
		c := &collect{t: t}
		sum, err := r.edge.Generate(t.Context(), telltale(), c.emit)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range secrets {
			if heard := p.holds(s); heard != (action == PrivacyOff) {
				t.Errorf("privacy %v: %q went up: %v", action, s, heard)
			}
		}
		if action == PrivacyPlaceholders && (!p.holds("[CARD_1]") || sum.Personal.Found[privacy.Email] < 3 || sum.Personal.Action != action) {
			t.Errorf("%+v", sum.Personal)
		}
		r.empty()
	}
}

// Mid-answer escalation, on whose way up the text was the draft's, obeys the same rule.
func TestPlaceholdersWhenEscalating(t *testing.T) {
	r, p := privateRig(t, func(r *rig) {
		r.config.Privacy, r.config.Mode = PrivacyPlaceholders, ModeAuto
		r.config.Router = policy(t, strings.Replace(doubtful, "PLACE", "cooperative", 1))
	})
	c := &collect{t: t}
	sum, err := r.edge.Generate(t.Context(), telltale(), c.emit)
	if err != nil || sum.Routing.EscalatedAt == 0 {
		t.Fatalf("%+v %v", sum.Routing, err)
	}
	for _, s := range secrets {
		if p.holds(s) {
			t.Errorf("%q went up", s)
		}
	}
	if !p.holds("[CARD_1]") {
		t.Error("nothing went up")
	}
}

func TestPersonalDataStaysOnTheDevice(t *testing.T) {
	r, p := privateRig(t, func(r *rig) { r.config.Privacy = PrivacyOnDevice })
	c := &collect{t: t}
	sum, err := r.edge.Generate(t.Context(), telltale(), c.emit)
	if err != nil || sum.Routing.Where != OnDevice || !strings.Contains(sum.Routing.Reason, "card") || sum.Opening > 0 {
		t.Errorf("%+v %v", sum.Routing, err)
	}
	for _, s := range secrets {
		if p.holds(s) {
			t.Errorf("%q went up", s)
		}
	}
	req := Request{Prompt: "Write a story", MaxTokens: 8}
	if sum, err := r.edge.Generate(t.Context(), req, c.emit); err != nil || sum.Routing.Where != Cooperative {
		t.Errorf("%+v %v", sum.Routing, err)
	}
	only := telltale()
	only.Mode = ModeOnlyInCloud
	_, err = r.edge.Generate(t.Context(), only, c.emit)
	wantError(t, err, ErrDevice)
}

// A request cannot loosen what the edge asks for, but ask for more; what cannot carry a placeholder is refused.
func TestPrivacyPerRequest(t *testing.T) {
	r, p := privateRig(t, func(r *rig) { r.config.Privacy = PrivacyPlaceholders })
	c := &collect{t: t}
	loose := Request{Prompt: "Write to ada@example.org", MaxTokens: 8, Privacy: PrivacyOff}
	if sum, err := r.edge.Generate(t.Context(), loose, c.emit); err != nil || sum.Personal.Action != PrivacyPlaceholders || p.holds("ada@example.org") {
		t.Errorf("%+v %v", sum.Personal, err)
	}
	strict := loose
	strict.Privacy = PrivacyOnDevice
	if sum, err := r.edge.Generate(t.Context(), strict, c.emit); err != nil || sum.Routing.Where != OnDevice {
		t.Errorf("%+v %v", sum.Routing, err)
	}
	refused := []Request{
		{Prompt: "x", Constraint: &Constraint{Kind: "regex", Source: `ada@example\.org`}},
		{Tokens: demoTokenizer(t).Encode("mail ada@example.org", tokenizer.Options{})},
	}
	for _, q := range refused {
		q.MaxTokens = 4
		if _, err := r.edge.Generate(t.Context(), q, c.emit); err == nil || !strings.Contains(err.Error(), "personal data") {
			t.Errorf("%+v: %v", q.Constraint, err)
		}
	}
	if p.holds("ada@example") {
		t.Error("went up")
	}
}

// The answer comes back with the data in it, whatever the tokens are.
func TestAnswerIsRestored(t *testing.T) {
	r, _ := privateRig(t, func(r *rig) { r.config.Privacy = PrivacyPlaceholders })
	tok := r.config.Tokenizer
	said := tok.Encode("I wrote to [EMAIL_1] and [NAME_9].", tokenizer.Options{})
	r.target.script = said
	c := &collect{t: t}
	q := Request{Prompt: "Write to ada@example.org", MaxTokens: len(said), Params: speculative.Params{}}
	if _, err := r.edge.Generate(t.Context(), q, c.emit); err != nil {
		t.Fatal(err)
	}
	if want := "I wrote to ada@example.org and [NAME_9]."; strings.TrimSpace(c.text) != want {
		t.Errorf("got %q, want %q", c.text, want)
	}
}
