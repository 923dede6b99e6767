package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"
)

func (c *check) models(ctx context.Context) error {
	list, err := c.client.Models.List(ctx)
	if err != nil || len(list.Data) == 0 {
		return fmt.Errorf("%v %w", list, err)
	}
	c.model = list.Data[0].ID
	m, err := c.client.Models.Get(ctx, c.model)
	if err != nil {
		return err
	}
	return must(m.ID == c.model, m.RawJSON())
}

func (c *check) whole(ctx context.Context) error {
	r, k, err := c.chat(ctx, nil)
	if err != nil {
		return err
	}
	return must(k.Message.Content != "" && (k.FinishReason == "stop" || k.FinishReason == "length") &&
		r.Usage.TotalTokens == r.Usage.PromptTokens+r.Usage.CompletionTokens, r.RawJSON())
}

func (c *check) streaming(ctx context.Context) error {
	p := c.params()
	p.StreamOptions.IncludeUsage = param.NewOpt(true)
	s := c.client.Chat.Completions.NewStreaming(ctx, p)
	defer s.Close()
	var all openai.ChatCompletionAccumulator
	for s.Next() {
		if !all.AddChunk(s.Current()) {
			return fmt.Errorf("a chunk that does not fit: %s", s.Current().RawJSON())
		}
	}
	_, k, err := c.chat(ctx, nil)
	if err = errors.Join(s.Err(), err); err != nil {
		return err
	}
	return must(all.Choices[0].Message.Content == k.Message.Content && all.Usage.CompletionTokens > 0, all)
}

func (c *check) parameters(ctx context.Context) error {
	var texts [2]string
	for i := range texts {
		r, _, err := c.chat(ctx, func(p *openai.ChatCompletionNewParams) {
			p.Temperature, p.Seed, p.N = param.NewOpt(1.0), param.NewOpt[int64](7), param.NewOpt[int64](2)
		})
		if err != nil {
			return err
		}
		if len(r.Choices) != 2 {
			return fmt.Errorf("%d choices", len(r.Choices))
		}
		texts[i] = r.Choices[0].Message.Content + "|" + r.Choices[1].Message.Content
	}
	if texts[0] != texts[1] {
		return fmt.Errorf("one seed, two answers: %q", texts)
	}
	long := func(p *openai.ChatCompletionNewParams) { p.MaxTokens = param.NewOpt[int64](40) }
	_, k, err := c.chat(ctx, long)
	if err != nil {
		return err
	}
	stop := strings.Fields(k.Message.Content)[3]
	if _, k, err = c.chat(ctx, func(p *openai.ChatCompletionNewParams) { long(p); p.Stop.OfStringArray = []string{stop} }); err != nil {
		return err
	}
	if k.FinishReason != "stop" || strings.Contains(k.Message.Content, stop) {
		return fmt.Errorf("did not stop at %q: %s", stop, k.RawJSON())
	}
	_, k, err = c.chat(ctx, func(p *openai.ChatCompletionNewParams) {
		p.Logprobs, p.TopLogprobs = param.NewOpt(true), param.NewOpt[int64](2)
	})
	if err != nil {
		return err
	}
	wrong := func(l openai.ChatCompletionTokenLogprob) bool {
		return l.Logprob > 0 || len(l.TopLogprobs) != 2 || l.TopLogprobs[0].Token != l.Token
	}
	return must(len(k.Logprobs.Content) > 0 && !slices.ContainsFunc(k.Logprobs.Content, wrong), k.RawJSON())
}

var weather = map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string", "enum": []string{"Paris", "Rome"}}},
	"required": []string{"city"}, "additionalProperties": false}

var pet = map[string]any{"type": "object", "properties": map[string]any{"kind": map[string]any{"type": "string", "enum": []string{"cat", "dog"}},
	"hungry": map[string]any{"type": "boolean"}}, "required": []string{"kind", "hungry"}, "additionalProperties": false}

func withTools(p *openai.ChatCompletionNewParams) {
	p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "weather",
		Description: param.NewOpt("The weather in a city."), Parameters: weather, Strict: param.NewOpt(true)})}
	p.ToolChoice = openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "weather"})
	p.MaxTokens = param.NewOpt[int64](200)
}

// called checks a call.
func called(finish, name, arguments string) error {
	var a struct{ City string }
	if err := json.Unmarshal([]byte(arguments), &a); err != nil {
		return fmt.Errorf("%s: %w", arguments, err)
	}
	return must(finish == "tool_calls" && name == "weather" && (a.City == "Paris" || a.City == "Rome"), finish+" "+name+arguments)
}

func (c *check) tools(ctx context.Context) error {
	_, k, err := c.chat(ctx, withTools)
	if err != nil {
		return err
	}
	if len(k.Message.ToolCalls) != 1 {
		return fmt.Errorf("not one call: %s", k.RawJSON())
	}
	call := k.Message.ToolCalls[0]
	if err := called(k.FinishReason, call.Function.Name, call.Function.Arguments); err != nil {
		return err
	}
	_, _, err = c.chat(ctx, func(p *openai.ChatCompletionNewParams) {
		withTools(p)
		p.ToolChoice, p.MaxTokens = openai.ChatCompletionToolChoiceOptionUnionParam{}, param.NewOpt[int64](16)
		p.Messages = append(p.Messages, k.Message.ToParam(), openai.ToolMessage("Sunny.", call.ID))
	})
	return err
}

func (c *check) streamedTools(ctx context.Context) error {
	p := c.params()
	withTools(&p)
	s := c.client.Chat.Completions.NewStreaming(ctx, p)
	defer s.Close()
	var all openai.ChatCompletionAccumulator
	for s.Next() {
		all.AddChunk(s.Current())
	}
	if err := s.Err(); err != nil {
		return err
	}
	if len(all.Choices) != 1 || len(all.Choices[0].Message.ToolCalls) != 1 {
		return fmt.Errorf("not one call: %+v", all)
	}
	f := all.Choices[0].Message.ToolCalls[0].Function
	return called(all.Choices[0].FinishReason, f.Name, f.Arguments)
}

// fits checks an answer that follows the schema pet.
func fits(text string) error {
	var v struct {
		Kind   string
		Hungry *bool
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return must((v.Kind == "cat" || v.Kind == "dog") && v.Hungry != nil, text)
}

func (c *check) structured(ctx context.Context) error {
	_, k, err := c.chat(ctx, func(p *openai.ChatCompletionNewParams) {
		p.MaxTokens = param.NewOpt[int64](200)
		p.ResponseFormat.OfJSONSchema = &openai.ResponseFormatJSONSchemaParam{
			JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{Name: "pet", Schema: pet, Strict: param.NewOpt(true)}}
	})
	if err != nil {
		return err
	}
	return fits(k.Message.Content)
}

func (c *check) responses(ctx context.Context) error {
	p := responses.ResponseNewParams{Model: c.model, Input: responses.ResponseNewParamsInputUnion{OfString: param.NewOpt("Tell me a story about a dog.")},
		MaxOutputTokens: param.NewOpt[int64](16), Temperature: param.NewOpt(0.0)}
	r, err := c.client.Responses.New(ctx, p)
	if err != nil {
		return err
	}
	if r.OutputText() == "" || r.Usage.OutputTokens == 0 {
		return fmt.Errorf("no text: %s", r.RawJSON())
	}
	text, last := "", ""
	s := c.client.Responses.NewStreaming(ctx, p)
	defer s.Close()
	for s.Next() {
		if last = s.Current().Type; last == "response.output_text.delta" {
			text += s.Current().Delta
		}
	}
	if s.Err() != nil || text != r.OutputText() || last != "response.completed" && last != "response.incomplete" {
		return fmt.Errorf("streamed %q, whole %q, last event %s: %w", text, r.OutputText(), last, s.Err())
	}
	p.MaxOutputTokens = param.NewOpt[int64](200)
	q := p
	q.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("weather", weather, true)}
	q.ToolChoice.OfFunctionTool = &responses.ToolChoiceFunctionParam{Name: "weather"}
	if r, err = c.client.Responses.New(ctx, q); err != nil {
		return err
	}
	if err := called("tool_calls", r.Output[0].Name, r.Output[0].Arguments.OfString); err != nil {
		return err
	}
	p.Text.Format = responses.ResponseFormatTextConfigParamOfJSONSchema("pet", pet)
	if r, err = c.client.Responses.New(ctx, p); err != nil {
		return err
	}
	return fits(r.OutputText())
}

// failed checks that err is the API's error with a status and a code.
func failed(err error, status int, code string) error {
	var e *openai.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("not an error of the API: %w", err)
	}
	return must(e.StatusCode == status && e.Code == code, e)
}

func (c *check) errors(ctx context.Context) error {
	_, _, err := c.chat(ctx, func(p *openai.ChatCompletionNewParams) { p.Temperature = param.NewOpt(-1.0) })
	_, _, err2 := c.chat(ctx, func(p *openai.ChatCompletionNewParams) { p.Model = "nobody" })
	_, err3 := c.client.Models.List(ctx, option.WithAPIKey("wrong"))
	return errors.Join(failed(err, 400, "invalid_value"), failed(err2, 404, "model_not_found"), failed(err3, 401, "invalid_api_key"))
}

func (c *check) retries(ctx context.Context) error {
	began := time.Now()
	client := func(name string, retries int) openai.Client {
		return openai.NewClient(option.WithBaseURL(c.flaky), option.WithAPIKey(c.key), option.WithMaxRetries(retries), option.WithHeader("X-Case", "go-"+name))
	}
	patient, hasty := client("retried", 2), client("given-up", 0)
	if _, err := patient.Models.List(ctx); err != nil {
		return err
	}
	if took := time.Since(began); took < 1900*time.Millisecond {
		return fmt.Errorf("Retry-After was not obeyed: %v", took)
	}
	_, err := hasty.Models.List(ctx)
	return failed(err, 429, "rate_limit_exceeded")
}
