package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHealth() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:   "health [ADDRESS]",
		Short: "Say whether a running cloud or edge is ready, for health checks",
		Long: `Ask /readyz of an admin address, host:port. Without one, those of the configuration are tried, the
cloud's (cloud.admin) and the edge's (edge.admin): one that is ready is enough. The exit code is 0 when it is.`,
		Example: `  outrider health
  outrider health 127.0.0.1:7601`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			addrs := args
			if len(addrs) == 0 {
				cfg, err := loadConfig(cmd)
				if err != nil {
					return err
				}
				addrs = []string{cfg.Cloud.Admin, cfg.Edge.Admin}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			var failed []string
			for _, a := range addrs {
				if a == "" {
					continue
				}
				err := ready(ctx, a)
				if err == nil {
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is ready\n", a)
					return err
				}
				failed = append(failed, err.Error())
			}
			if len(failed) == 0 {
				return usagef("no admin address is configured: give one, host:port")
			}
			return fmt.Errorf("not ready: %s", strings.Join(failed, "; "))
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "how long the answer may take")
	return c
}

// ready asks an admin address whether sessions can be served.
func ready(ctx context.Context, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("%q is no address, give host:port", addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() { // listens everywhere, here too
		host = "127.0.0.1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return fmt.Errorf("%s: %s", addr, oneLine(err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", addr, strings.TrimSpace(string(body)))
	}
	return nil
}
