package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-cleanhttp"
	"github.com/hashicorp/go-retryablehttp"
)

// client makes requests, again when a server is busy or failing.
type client struct {
	http     *retryablehttp.Client
	endpoint *url.URL
	token    string
}

func newClient(c *Config) client {
	e, err := url.Parse(c.Endpoint)
	if err != nil {
		e = &url.URL{} // no request can be made to it
	}
	r := retryablehttp.NewClient()
	r.Logger = nil
	t := cleanhttp.DefaultPooledTransport()
	t.ResponseHeaderTimeout = c.Stall
	r.HTTPClient = &http.Client{Transport: t}
	r.RetryMax, r.RetryWaitMin, r.RetryWaitMax = c.Retries, c.MinWait, c.MaxWait
	r.ErrorHandler = retryablehttp.PassthroughErrorHandler
	r.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if resp != nil && retryAfter(resp) > c.MaxWait {
			return false, nil
		}
		return retryablehttp.DefaultRetryPolicy(ctx, resp, err)
	}
	r.RequestLogHook = func(_ retryablehttp.Logger, req *http.Request, attempt int) {
		if attempt > 0 {
			c.Say("%s does not answer as it should, attempt %d", req.URL.Host, attempt+1)
		}
	}
	return client{http: r, endpoint: e, token: c.Token}
}

func (c *client) close() {
	c.http.HTTPClient.CloseIdleConnections()
}

// get asks for a URL; the caller closes the body. Redirects are followed; the token goes to the
// endpoint's own host only.
func (c *client) get(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReference, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "outrider")
	req.Header.Set("Accept-Encoding", "identity") // ranges count the file's own bytes
	if c.token != "" && req.URL.Host == c.endpoint.Host && req.URL.Scheme == c.endpoint.Scheme {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its address may hold a signature
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrNetwork, req.URL.Host, err)
	}
	return resp, nil
}

// refusal says what a status means and what to do about it.
func (c *client) refusal(resp *http.Response, what string) error {
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		if c.token != "" {
			return fmt.Errorf("%w: %s: the token in HF_TOKEN is not valid for it, or it does not exist", ErrRefused, what)
		}
		return fmt.Errorf("%w: %s does not exist, or needs a token: set HF_TOKEN", ErrRefused, what)
	case http.StatusForbidden:
		return fmt.Errorf("%w: %s: accept its terms on its web page and set HF_TOKEN to a token that may read it", ErrRefused, what)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w: %s: check the spelling", ErrNotFound, what)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s: the server asks for a pause%s: run the same command again later", ErrNetwork, what, pause(resp))
	}
	return fmt.Errorf("%w: %s: the server answers %q: run the same command again later", ErrNetwork, what, strings.TrimSpace(resp.Status))
}

func pause(resp *http.Response) string {
	if d := retryAfter(resp); d > 0 {
		return " of " + d.Round(time.Second).String()
	}
	return ""
}

// retryAfter is how long the server asks to wait, 0 when it does not say.
func retryAfter(resp *http.Response) time.Duration {
	h := resp.Header.Get("Retry-After")
	if n, err := strconv.ParseInt(h, 10, 32); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(h); err == nil {
		return time.Until(t)
	}
	return 0
}
