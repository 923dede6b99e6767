package openai

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/outrider-llm/outrider/edge"
)

// apiError is an error as OpenAI's clients read it.
type apiError struct {
	status int
	retry  time.Duration // Retry-After; 0: none
	final  bool          // clients must not try again, whatever the status

	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

func (e *apiError) Error() string { return e.Message }

// Types of errors, OpenAI's words.
const (
	typeInvalid   = "invalid_request_error"
	typeAuth      = "authentication_error"
	typeRateLimit = "rate_limit_error"
	typeServer    = "server_error"
)

func newError(status int, kind, param, code, format string, a ...any) *apiError {
	e := &apiError{status: status, Type: kind, Message: fmt.Sprintf(format, a...)}
	if param != "" {
		e.Param = &param
	}
	if code != "" {
		e.Code = &code
	}
	return e
}

// invalid is a 400 that names the field.
func invalid(param, code, format string, a ...any) *apiError {
	return newError(http.StatusBadRequest, typeInvalid, param, code, format, a...)
}

// errorOf turns what the edge says into an answer. The model's name is for the message.
func errorOf(err error, model string) *apiError {
	var e *apiError
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, edge.ErrRequest):
		return requestError(err)
	case errors.Is(err, edge.ErrNoModel):
		e = newError(http.StatusNotFound, typeInvalid, "model", "model_not_found", "the model %.100q does not exist: %s", model, plain(err))
	case errors.Is(err, edge.ErrBusy):
		e = newError(http.StatusTooManyRequests, typeRateLimit, "", "rate_limit_exceeded", "%s", plain(err))
		e.retry = time.Second
	case errors.Is(err, edge.ErrNoCloud), errors.Is(err, edge.ErrClosed):
		e = newError(http.StatusServiceUnavailable, typeServer, "", "service_unavailable", "%s", plain(err))
		e.retry = 2 * time.Second
	case errors.Is(err, edge.ErrVocabulary), errors.Is(err, edge.ErrRefused), errors.Is(err, edge.ErrDevice):
		e = newError(http.StatusServiceUnavailable, typeServer, "", "service_unavailable", "%s", plain(err))
		e.final = true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e = newError(http.StatusRequestTimeout, typeInvalid, "", "request_cancelled", "the request was cancelled before its answer was complete")
		e.final = true
	default:
		e = newError(http.StatusInternalServerError, typeServer, "", "internal_error", "%s", plain(err))
	}
	return e
}

// errDeadline is for an answer of which nothing came in time; one that began ends with "length".
func errDeadline() *apiError {
	e := newError(http.StatusGatewayTimeout, typeServer, "", "deadline_exceeded", "the request's deadline_ms passed before the first token: give it more time, or look whether a cloud is in reach (/outrider/status)")
	e.final = true
	return e
}

// requestError is a 400, with the field when the edge's message begins with its name.
func requestError(err error) *apiError {
	msg := plain(err)
	for _, p := range []string{edge.ErrRequest.Error() + ": ", "invalid sampling parameters: "} {
		msg = strings.TrimPrefix(msg, p)
	}
	word, _, _ := strings.Cut(msg, " ")
	switch word {
	case "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "logit_bias", "max_tokens":
		return invalid(word, "invalid_value", "%s", msg)
	case "stop":
		return invalid("stop", "invalid_value", "%s", msg)
	}
	code := "invalid_request"
	if strings.Contains(msg, "context") {
		code = "context_length_exceeded"
	}
	return invalid("", code, "%s", msg)
}

func plain(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// write sends the error as the whole answer.
func (e *apiError) write(w http.ResponseWriter) {
	h := w.Header()
	if e.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retry.Seconds()))))
	}
	if e.final {
		h.Set("X-Should-Retry", "false") // the official SDKs obey it
	}
	writeJSON(w, e.status, map[string]any{"error": e})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil { // no value of ours does this
		status = http.StatusInternalServerError
		b.Reset()
		b.WriteString(`{"error":{"message":"the answer cannot be written as JSON","type":"server_error","param":null,"code":null}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // a client that is gone needs no answer
}
