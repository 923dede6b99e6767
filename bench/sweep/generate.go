package sweep

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/chat"
	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/speculative"
	"github.com/outrider-llm/outrider/tokenizer"
)

type choice = speculative.Choice

// outcome is what a generation told.
type outcome struct {
	tokens            int
	output            []edge.Token
	first, total      time.Duration
	usage             speculative.Usage
	drafted, lookedUp int
	uplink, downlink  int
	fates             strings.Builder
	exact             bool
	numerics          string
}

func (o *outcome) fill(x *Record) {
	x.Tokens, x.FirstToken, x.Total = o.tokens, ms(o.first), ms(o.total)
	if o.tokens > 0 {
		x.MsPerToken = x.Total / float64(o.tokens)
	}
	u := o.usage
	x.Passes, x.Scoring, x.Positions, x.Received, x.Judged, x.Accepted, x.Late = u.Passes, u.ScoringPasses, u.Positions, u.Drafted, u.Judged, u.Accepted, u.Late
	x.Drafted, x.LookedUp, x.Uplink, x.Downlink, x.Exact, x.Fates = o.drafted, o.lookedUp, o.uplink, o.downlink, o.exact, o.fates.String()
	if o.numerics != "" {
		x.Origin.Target.Numerics = o.numerics
	}
	h := sha256.New()
	for _, t := range o.output {
		fmt.Fprintf(h, "%d ", t)
	}
	x.Output, x.Load = hex.EncodeToString(h.Sum(nil)[:8]), loadAverage()
}

// generate runs one generation on an edge.
func generate(ctx context.Context, e *edge.Edge, v *Variant, j job) (o outcome, err error) {
	r := v.Request
	r.Tokens, r.MaxTokens, r.IgnoreEnd, r.Prediction = j.tokens, j.most, true, j.expected
	r.Params.Seed = j.seed
	if v.Way == CloudOnly {
		r.NoDraft, r.MaxPassesPerToken = true, 1
	}
	sum, err := e.Generate(ctx, r, func(ev edge.Event) error {
		for _, t := range ev.Tokens {
			o.output = append(o.output, t.ID)
			o.fates.WriteByte(fate(t.Fate, t.Late, t.Unverified))
		}
		return nil
	})
	o.tokens, o.first, o.total, o.usage = sum.Tokens, sum.FirstToken, sum.Total, sum.Usage
	o.drafted, o.lookedUp, o.uplink, o.downlink, o.exact, o.numerics = sum.Drafted, sum.LookedUp, sum.Uplink, sum.Downlink, sum.Exact, sum.Numerics
	return o, err
}

func fate(f speculative.Fate, late, unverified bool) byte {
	switch {
	case unverified:
		return 'u'
	case late:
		return 'l'
	}
	switch f {
	case speculative.Accepted:
		return 'a'
	case speculative.Correction:
		return 'c'
	case speculative.Bonus:
		return 'b'
	case speculative.RunAhead:
		return 'r'
	}
	return '?'
}

// prompt puts an item into tokens, and cuts what the context does not hold.
func (c *Config) prompt(it workload.Item) (tokens []edge.Token, cut bool) {
	switch {
	case c.Target == nil: // no text: words become ids
		for _, w := range strings.Fields(it.Text()) {
			h := fnv.New32a()
			_, _ = h.Write([]byte(w)) // never fails
			tokens = append(tokens, edge.Token(1+h.Sum32()%30000))
		}
	case c.Chat || len(it.Messages) > 0:
		tokens = c.conversation(it)
	}
	if len(tokens) == 0 && c.Target != nil {
		tokens = c.Target.Encode(it.Text(), tokenizer.Options{AddBOS: c.Target.AddBOS()})
	}
	if len(tokens) == 0 {
		tokens = []edge.Token{1}
	}
	if most := max(1, c.Context-c.Tokens-1); len(tokens) > most {
		return tokens[:most], true
	}
	return tokens, false
}

// conversation writes an item by the model's chat template, nil when the model has none.
func (c *Config) conversation(it workload.Item) []edge.Token {
	said := it.Messages
	if len(said) == 0 {
		said = []chat.Message{{Role: "user", Content: it.Prompt}}
	}
	tokens, err := edge.ChatPrompt(c.Target, chat.Conversation{Messages: said})
	if err != nil {
		return nil
	}
	return tokens
}
