package backend

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// errNotNow: the plugin runs, what its model runs on does not answer.
var errNotNow = &remoteError{ErrUnavailable, "the model's server does not answer"}

// errMisbehaves: what a plugin answered makes no sense.
var errMisbehaves = errors.New("the model plugin misbehaves")

// remoteError carries the other side's words and the sentinel that errors.Is finds.
type remoteError struct {
	sentinel error
	text     string
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

// sentinelOf relates the wire's codes and the sentinels; one place for both directions.
func sentinelOf(code outriderv1.SegmentError) error {
	switch code {
	case outriderv1.SegmentError_SEGMENT_ERROR_SEQUENCE_LOST:
		return ErrSequenceLost
	case outriderv1.SegmentError_SEGMENT_ERROR_CONTEXT_FULL:
		return ErrContextFull
	case outriderv1.SegmentError_SEGMENT_ERROR_NO_MEMORY:
		return ErrNoMemory
	case outriderv1.SegmentError_SEGMENT_ERROR_INVALID:
		return ErrInvalid
	case outriderv1.SegmentError_SEGMENT_ERROR_NOT_FINITE:
		return ErrNotFinite
	}
	return nil
}

// errorToProto returns UNSPECIFIED for nil, INTERNAL for what wraps no sentinel.
func errorToProto(err error) (outriderv1.SegmentError, string) {
	if err == nil {
		return outriderv1.SegmentError_SEGMENT_ERROR_UNSPECIFIED, ""
	}
	for code := outriderv1.SegmentError_SEGMENT_ERROR_SEQUENCE_LOST; code <= outriderv1.SegmentError_SEGMENT_ERROR_NOT_FINITE; code++ {
		if s := sentinelOf(code); s != nil && errors.Is(err, s) {
			return code, detail(err, s)
		}
	}
	return outriderv1.SegmentError_SEGMENT_ERROR_INTERNAL, oneLine(err.Error())
}

func errorFromProto(code outriderv1.SegmentError, text string) error {
	if code == outriderv1.SegmentError_SEGMENT_ERROR_UNSPECIFIED {
		return nil
	}
	text = oneLine(text)
	s := sentinelOf(code)
	switch {
	case s == nil:
		return fmt.Errorf("the model plugin failed: %s", text)
	case text == "":
		return s
	}
	return &remoteError{s, s.Error() + ": " + text}
}

// detail is err's text without the sentinel's, which the other side puts back.
func detail(err, sentinel error) string {
	text := oneLine(err.Error())
	if text == sentinel.Error() {
		return ""
	}
	return strings.TrimPrefix(text, sentinel.Error()+": ")
}

// oneLine folds an error text, which may come from foreign code, into one line of bounded length.
func oneLine(s string) string {
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "?")
	const most = 500
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// callError is the server's answer to a call that failed as a whole.
func callError(ctx context.Context, err error) error {
	if e := ctx.Err(); e != nil {
		return status.FromContextError(e).Err()
	}
	if errors.Is(err, ErrUnavailable) { // what the model runs on is gone
		return status.Error(codes.Unavailable, detail(err, ErrUnavailable))
	}
	if code, text := errorToProto(err); code != outriderv1.SegmentError_SEGMENT_ERROR_INTERNAL {
		return status.Error(codes.FailedPrecondition, text)
	}
	return status.Error(codes.Internal, oneLine(err.Error()))
}

// fromStatus is what the client makes of a failed call: the context's error when that is why,
// ErrUnavailable when the plugin is gone.
func fromStatus(ctx context.Context, err error) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.Unavailable, codes.Canceled:
		return &remoteError{ErrUnavailable, ErrUnavailable.Error() + ": " + oneLine(s.Message())}
	case codes.Unimplemented:
		return fmt.Errorf("%w: it does not implement the call: %s", errMisbehaves, oneLine(s.Message()))
	}
	return fmt.Errorf("the model plugin failed: %s", oneLine(s.Message()))
}
