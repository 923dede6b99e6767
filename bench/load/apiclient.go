package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// apiClient streams one answer.
type apiClient struct {
	c     *APIConfig
	http  *http.Client
	kind  kind
	n     int
	wait  time.Duration
	leave int // a vanishing client goes after so many tokens

	begun, first, last time.Time
	gap                time.Duration // longest wait for a token, the first included
	tokens, bytes      int
	finish             string
	err                error
}

// run sends the request and reads the answer to its end, or as far as the client cares.
func (x *apiClient) run(ctx context.Context) {
	if x.err = sleep(ctx, x.wait); x.err != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx) // closes the connection
	defer cancel()
	x.begun = time.Now()
	x.last = x.begun
	resp, err := x.ask(ctx)
	if err != nil {
		x.err = err
		return
	}
	defer func() { _ = resp.Body.Close() }() // read to its end, or left on purpose
	x.err = x.read(ctx, resp.Body)
}

// ask sends one of two requests: a chat, or tokens to go on from.
func (x *apiClient) ask(ctx context.Context) (*http.Response, error) {
	body := map[string]any{"stream": true, "stream_options": map[string]any{"include_usage": true}, "max_tokens": x.c.Tokens,
		"outrider": map[string]any{"tokens": true, "progress": true, "ignore_end": true}}
	path := "/v1/chat/completions"
	if x.n%2 == 0 {
		body["messages"] = []map[string]string{{"role": "user", "content": fmt.Sprintf("Client %d asks for a story.", x.n)}}
	} else {
		path = "/v1/completions"
		body["prompt"] = []int{1, 2 + x.n%60, 2 + x.n/60%60, 3, 4, 5, 6, 7}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(x.c.URL, "/")+path, strings.NewReader(string(b)))
	if err != nil {
		return nil, fmt.Errorf("load: %q is no URL of an API: %w", x.c.URL, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := x.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // for the message only
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	return resp, nil
}

// read takes the events. A stream that ends early, with too few tokens or without its end is an error.
func (x *apiClient) read(ctx context.Context, body io.Reader) error {
	if x.kind == slow {
		body = &throttle{ctx, body, x.c.SlowBytes}
	}
	in := bufio.NewScanner(body)
	in.Buffer(make([]byte, 0, 4096), 1<<20)
	for in.Scan() {
		x.bytes += len(in.Bytes()) + 1
		data, ok := strings.CutPrefix(in.Text(), "data: ")
		switch {
		case !ok: // between events, or a sign of life
			continue
		case data == "[DONE]":
			return x.check()
		}
		if err := x.event(data); err != nil {
			return err
		}
		if x.kind == vanishing && x.tokens >= x.leave {
			return nil
		}
	}
	if err := in.Err(); err != nil {
		return err
	}
	return fmt.Errorf("the stream ended after %d tokens without [DONE]", x.tokens)
}

func (x *apiClient) event(data string) error {
	var v struct {
		Error   *struct{ Message string }
		Choices []struct {
			Finish string `json:"finish_reason"`
		}
		Outrider struct{ Tokens []struct{ ID int } }
	}
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		return fmt.Errorf("an event is no JSON: %w", err)
	}
	if v.Error != nil {
		return errors.New(v.Error.Message)
	}
	for _, c := range v.Choices {
		x.finish += c.Finish
	}
	if len(v.Outrider.Tokens) == 0 {
		return nil
	}
	now := time.Now()
	x.gap = max(x.gap, now.Sub(x.last))
	if x.last = now; x.tokens == 0 {
		x.first = now
	}
	x.tokens += len(v.Outrider.Tokens)
	return nil
}

func (x *apiClient) check() error {
	if x.tokens != x.c.Tokens || x.finish != "length" {
		return fmt.Errorf("got %d tokens and finish reason %q, want %d and length", x.tokens, x.finish, x.c.Tokens)
	}
	return nil
}

// perToken is the time per token after the first, in milliseconds.
func (x *apiClient) perToken() float64 {
	return millis(x.last.Sub(x.first)) / float64(max(1, x.tokens-1))
}
