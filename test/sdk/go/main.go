// Program go runs the official OpenAI SDK for Go against an edge: one line per feature, "ok NAME" or
// "FAIL NAME why". The environment is that of ../python/check.py.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
)

// check is what the features share.
type check struct {
	url, key, flaky string
	client          openai.Client
	model           string
}

func main() {
	c := &check{url: os.Getenv("OUTRIDER_URL"), key: os.Getenv("OUTRIDER_KEY"), flaky: os.Getenv("OUTRIDER_FLAKY")}
	c.client = openai.NewClient(option.WithBaseURL(c.url), option.WithAPIKey(c.key), option.WithMaxRetries(0))
	features := []struct {
		name string
		run  func(context.Context) error
	}{
		{"models", c.models}, {"whole", c.whole}, {"streaming", c.streaming}, {"parameters", c.parameters}, {"tools", c.tools},
		{"streamed_tools", c.streamedTools}, {"structured", c.structured}, {"responses", c.responses}, {"errors", c.errors},
		{"retries", c.retries}, {"cancellation", c.cancellation},
	}
	code := 0
	for _, f := range features {
		if err := f.run(context.Background()); err != nil {
			fmt.Println("FAIL", f.name, strings.Join(strings.Fields(err.Error()), " "))
			code = 1
			continue
		}
		fmt.Println("ok", f.name)
	}
	os.Exit(code)
}

// params are those of a short chat.
func (c *check) params() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: c.model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Tell me a story about a dog.")},
		MaxTokens: param.NewOpt[int64](16), Temperature: param.NewOpt(0.0)}
}

// chat asks, with a change of the parameters, and returns the first choice as well.
func (c *check) chat(ctx context.Context, change func(*openai.ChatCompletionNewParams)) (*openai.ChatCompletion, *openai.ChatCompletionChoice, error) {
	p := c.params()
	if change != nil {
		change(&p)
	}
	r, err := c.client.Chat.Completions.New(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if len(r.Choices) == 0 {
		return nil, nil, fmt.Errorf("no choices: %s", r.RawJSON())
	}
	return r, &r.Choices[0], nil
}

// must is an error that shows v unless ok.
func must(ok bool, v any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("wrong: %v", v)
}

// active asks the edge how many generations are under way.
func (c *check) active(ctx context.Context) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.url, "/v1")+"/metrics", nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`(?m)^outrider_edge_active_requests (\d+)`).FindSubmatch(b)
	if m == nil {
		return "", fmt.Errorf("no outrider_edge_active_requests")
	}
	return string(m[1]), nil
}

func (c *check) cancellation(ctx context.Context) error {
	ctx2, cancel := context.WithCancel(ctx)
	defer cancel()
	p := c.params()
	p.MaxTokens = param.NewOpt[int64](400)
	s := c.client.Chat.Completions.NewStreaming(ctx2, p, option.WithJSONSet("outrider", map[string]bool{"ignore_end": true}))
	defer s.Close()
	if !s.Next() {
		return fmt.Errorf("no first chunk: %w", s.Err())
	}
	if n, err := c.active(ctx); err != nil || n != "1" {
		return fmt.Errorf("%s generations are under way, want 1 (%v)", n, err)
	}
	cancel()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(20 * time.Millisecond) {
		n, err := c.active(ctx)
		if err != nil || n == "0" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the generation goes on")
		}
	}
}
