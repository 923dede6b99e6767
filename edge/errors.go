package edge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors that Generate and New wrap.
var (
	// ErrRequest: the request is not valid; the message says what to change.
	ErrRequest = errors.New("invalid request")
	// ErrNoCloud: no cloud was in reach for as long as the fallback policy allows.
	ErrNoCloud = errors.New("no cloud in reach")
	// ErrRefused: the cloud refuses the session for good.
	ErrRefused = errors.New("the cloud refused the session")
	// ErrNoModel: the cloud does not serve the target that was asked for. It comes with ErrRefused.
	ErrNoModel = errors.New("no such model")
	// ErrBusy: the cloud was reached but took no more sessions. It comes with ErrNoCloud.
	ErrBusy = errors.New("the cloud is busy")
	// ErrVocabulary: draft, tokenizer and target do not share one vocabulary.
	ErrVocabulary = errors.New("the vocabularies differ")
	// ErrDevice: the draft cannot answer alone, and the request's mode allows nothing else.
	ErrDevice = errors.New("the device cannot answer")
	// ErrClosed: the edge is shutting down.
	ErrClosed = errors.New("the edge is shutting down")
)

func requestError(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrRequest, fmt.Sprintf(format, a...))
}

// marked is an error that is another one, too, without saying so.
type markedError struct {
	error
	mark error
}

func (m markedError) Unwrap() []error { return []error{m.error, m.mark} }

// also makes an error wrap a second sentinel and read as before.
func also(err, mark error) error { return markedError{err, mark} }

// permanent turns the status of a stream into the request's error when opening it again cannot help;
// nil when it may.
func permanent(err error, cloud string) error {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	msg := oneLine(st.Message())
	switch st.Code() {
	case codes.InvalidArgument, codes.OutOfRange:
		return requestError("%s", msg)
	case codes.FailedPrecondition:
		if prefixUnknown(err) {
			return fmt.Errorf("%w: it does not know a prefix that was not named", ErrRefused)
		}
		return fmt.Errorf("%w: %s", ErrVocabulary, msg)
	case codes.Internal:
		if reasonIs(st, "TARGET_BROKEN") {
			return fmt.Errorf("%w: %s", ErrRefused, msg)
		}
	case codes.NotFound:
		return also(fmt.Errorf("%w: %s", ErrRefused, msg), ErrNoModel)
	case codes.Unauthenticated, codes.PermissionDenied:
		return fmt.Errorf("%w: %s: check the credentials for %s", ErrRefused, msg, cloud)
	case codes.Unimplemented:
		return fmt.Errorf("%w: what listens at %s is no outrider cloud: check the address", ErrRefused, cloud)
	case codes.ResourceExhausted:
		if _, ok := retryAfter(err); !ok {
			if strings.Contains(msg, "received message larger than max") { // gRPC's words; a log that fits the context fits the limit
				return requestError("the prompt is far longer than the target's context: shorten the prompt")
			}
			return fmt.Errorf("%w: %s", ErrRefused, msg)
		}
	}
	return nil
}

// prefixUnknown says that the cloud does not know the prefix that an Open named.
func prefixUnknown(err error) bool {
	st, ok := status.FromError(err)
	if !ok || st.Code() != codes.FailedPrecondition {
		return false
	}
	return reasonIs(st, "PREFIX_UNKNOWN")
}

// reasonIs says whether a status carries this reason for programs.
func reasonIs(st *status.Status, reason string) bool {
	for _, d := range st.Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok && i.GetReason() == reason {
			return true
		}
	}
	return false
}

// retryAfter reads the delay that the cloud asks for.
func retryAfter(err error) (time.Duration, bool) {
	st, ok := status.FromError(err)
	if !ok {
		return 0, false
	}
	for _, d := range st.Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return max(0, r.GetRetryDelay().AsDuration()), true
		}
	}
	return 0, false
}

// reason is a stream's error in one line for people.
func reason(err error) string {
	if err == nil {
		return "no answer"
	}
	msg := err.Error()
	if st, ok := status.FromError(err); ok {
		msg = st.Message()
	}
	if i := strings.LastIndex(msg, "desc = "); i >= 0 { // the transport's own error, told within
		msg = strings.Trim(msg[i+len("desc = "):], `"`)
	}
	return oneLine(msg)
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
