package load

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// soakKind is a way to ask.
type soakKind struct {
	name     string
	outrider map[string]any // options of its requests
	turns    int
	free     bool // the answer may differ from time to time
	leave    bool // the client goes away in mid-answer,
	reset    bool // and its connection with a reset,
	after    int  // after so many tokens
	question string
}

var soakKinds = []soakKind{
	{name: "chat", turns: 3},
	{name: "target alone", outrider: map[string]any{"mode": "only_in_cloud"}, turns: 1},
	{name: "on the device", outrider: map[string]any{"mode": "only_on_device"}, turns: 1},
	{name: "private", outrider: map[string]any{"privacy": "on_device"}, turns: 1, question: "My address is ada@example.org, write to it."},
	{name: "auto", outrider: map[string]any{"mode": "auto"}, turns: 1, free: true},
	{name: "cancelled", turns: 1, leave: true},
	{name: "aborted", turns: 1, leave: true, reset: true},
}

// soakQuestions begin the conversations; the one after the other goes on.
var soakQuestions = []string{"Tell me a story about a fox.", "What did the bird say?", "Who found the ball?", "Then what?", "And how did it end?"}

const soakTopics = 3

// answer is what the undisturbed system says.
type answer struct {
	text string
	ids  []int
}

// soakPatience bounds one answer, outages and a busy machine included.
const soakPatience = 2 * time.Minute

// learn asks everything that has one answer once.
func (s *soak) learn(ctx context.Context) error {
	for _, k := range soakKinds {
		if k.free || k.leave {
			continue
		}
		for topic := range soakTopics {
			for _, greedy := range []bool{true, false} {
				if _, err := s.converse(ctx, k, topic, greedy, func(x *apiClient, key string) error {
					s.said[key] = answer{x.text.String(), x.ids}
					return nil
				}); err != nil {
					return fmt.Errorf("load: cannot learn what is said (%s): %w", k.name, err)
				}
			}
		}
	}
	return nil
}

// ask has one conversation and notes how it went.
func (s *soak) ask(ctx context.Context, rng *rand.Rand, k soakKind) {
	k.after = rng.IntN(s.c.Tokens)
	n, err := s.converse(ctx, k, rng.IntN(soakTopics), rng.IntN(2) == 0, func(x *apiClient, key string) error {
		want, known := s.said[key]
		if known && (x.text.String() != want.text || !slices.Equal(x.ids, want.ids)) {
			return fmt.Errorf("%s: the answer is %q (%v), undisturbed it was %q (%v)", k.name, x.text.String(), x.ids, want.text, want.ids)
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Tokens += n
	if ctx.Err() != nil && err != nil {
		return // the end of the run cut it off
	}
	s.r.Asked[k.name]++
	if err != nil {
		s.r.Wrong[k.name]++
		if s.r.FirstError == "" {
			s.r.FirstError = err.Error()
		}
	}
}

// converse has the turns of one conversation; each whole answer is told under a key of what was asked.
func (s *soak) converse(ctx context.Context, k soakKind, topic int, greedy bool, whole func(*apiClient, string) error) (tokens int, err error) {
	var messages []map[string]string
	for turn := range k.turns {
		q := soakQuestions[(topic+turn)%len(soakQuestions)]
		if k.question != "" {
			q = k.question + " " + q
		}
		messages = append(messages, map[string]string{"role": "user", "content": q})
		x := s.request(k, topic, greedy, messages)
		x.want = func(x *apiClient) error {
			if x.tokens != s.c.Tokens || x.finish != "length" {
				return fmt.Errorf("%s: %d tokens and finish reason %q, want %d and length", k.name, x.tokens, x.finish, s.c.Tokens)
			}
			return whole(x, fmt.Sprint(k.name, topic, greedy, turn))
		}
		bounded, cancel := context.WithTimeout(ctx, soakPatience)
		x.run(bounded)
		cancel()
		tokens += x.tokens
		if x.err != nil {
			return tokens, x.err
		}
		messages = append(messages, map[string]string{"role": "assistant", "content": x.text.String()})
	}
	return tokens, nil
}

func (s *soak) request(k soakKind, topic int, greedy bool, messages []map[string]string) *apiClient {
	options := map[string]any{"tokens": true, "ignore_end": true, "fallback": "wait"}
	maps.Copy(options, k.outrider)
	if k.free {
		delete(options, "fallback") // as the edge has it
	}
	x := s.api.client(topic, steady)
	x.body = map[string]any{"stream": true, "max_tokens": s.c.Tokens, "messages": slices.Clone(messages), "temperature": 0.8, "seed": 5, "outrider": options,
		"user": fmt.Sprint("user-", topic)}
	if greedy {
		x.body["temperature"] = 0
	}
	if k.leave {
		x.kind, x.leave, x.reset = vanishing, k.after, k.reset
	}
	return x
}

// hangUp makes the end of a connection a reset, as a phone that loses its app sends it.
func (x *apiClient) hangUp() {
	if t, ok := x.conn.(*net.TCPConn); ok && x.reset {
		_ = t.SetLinger(0) // then it ends with a FIN
	}
}
