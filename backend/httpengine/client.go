package httpengine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/backend"
)

// Client sends JSON to one server, tries again what may be tried again, and bounds how much is under way.
type Client struct {
	base, key string
	http      *http.Client
	timeout   time.Duration
	retries   int
	slots     chan struct{}
}

// maxAnswer bounds what is read of an answer, bytes: 128k rows of 20 tokens take about 100 MB.
const maxAnswer = 256 << 20

// ErrNotFound says that the server has no such path.
var ErrNotFound = errors.New("no such path")

// refused is an answer that the same request would get again.
type refused struct {
	status int
	text   string
}

func (e *refused) Error() string { return fmt.Sprintf("the server refuses (%d): %s", e.status, e.text) }

// Get reads path into out.
func (c *Client) Get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// Post sends in to path and reads the answer into out. Scoring has no side effects, so it may be repeated.
// Errors wrap ErrUnavailable when the server cannot be reached or fails in several attempts, ErrContextFull when it
// says so, ErrNotFound, or the context's error.
func (c *Client) Post(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, body, out)
}

func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.slots }()
	wait := 100 * time.Millisecond
	for n := 0; ; n++ {
		err := c.once(ctx, method, path, body, out)
		var no *refused
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &no):
			return classify(no)
		case n >= c.retries:
			return fmt.Errorf("%w: %s does not answer: %w", backend.ErrUnavailable, c.base, err)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// classify gives a refusal the sentinel that fits.
func classify(e *refused) error {
	text := strings.ToLower(e.text)
	switch {
	case e.status == http.StatusNotFound || e.status == http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: %w", ErrNotFound, e)
	case e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return fmt.Errorf("%w: %w: give its key by option api_key_file", backend.ErrInvalid, e)
	case strings.Contains(text, "context length"), strings.Contains(text, "max_model_len"), strings.Contains(text, "longer than"):
		return fmt.Errorf("%w: %w", backend.ErrContextFull, e)
	}
	return fmt.Errorf("%w: %w", backend.ErrInvalid, e)
}

// once is one attempt: *refused for what is final.
func (c *Client) once(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel() // the server aborts a request whose connection closes
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return &refused{0, err.Error()}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch s := resp.StatusCode; {
	case err != nil:
		return err
	case len(data) > maxAnswer:
		return &refused{s, "its answer is longer than 256 MiB"}
	case s >= 500 || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout:
		return fmt.Errorf("status %d: %s", s, brief(data))
	case s >= 300:
		return &refused{s, brief(data)}
	}
	if err := json.Unmarshal(data, out); err != nil {
		return &refused{resp.StatusCode, "its answer is no JSON of the expected shape: " + err.Error()}
	}
	return nil
}

// brief is an error body for people.
func brief(data []byte) string {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Message string          `json:"message"`
	}
	var inner struct {
		Message string `json:"message"`
	}
	text := string(data)
	if json.Unmarshal(data, &e) == nil {
		if _ = json.Unmarshal(e.Error, &inner); inner.Message != "" { // a string has none
			text = inner.Message
		} else if e.Message != "" {
			text = e.Message
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 200 {
		text = strings.ToValidUTF8(text[:200], "") + "..."
	}
	return text
}
