package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/cloud"
	"github.com/outrider-llm/outrider/edge/openai"
	"github.com/outrider-llm/outrider/trust"
)

// CloudTLS names the PEM files of a cloud. They are read anew when they change.
type CloudTLS struct {
	Cert     string `koanf:"cert" doc:"certificate that edges see, a PEM file; empty: no TLS (security.md)"`
	Key      string `koanf:"key" doc:"its private key"`
	ClientCA string `koanf:"client_ca" doc:"authority whose certificates edges must show; empty: no certificate is asked for"`
	CRL      string `koanf:"crl" doc:"list of revoked certificates; empty: none is revoked"`
}

// EdgeTLS names the PEM files of an edge. They are read anew when they change.
type EdgeTLS struct {
	CA         string `koanf:"ca" doc:"authority of the cloud's certificate, a PEM file; empty: the system's authorities, if another of these is set, else no TLS"`
	Cert       string `koanf:"cert" doc:"certificate that this edge shows; empty: none"`
	Key        string `koanf:"key" doc:"its private key"`
	ServerName string `koanf:"server_name" doc:"name in the cloud's certificate; empty: the host of edge.cloud"`
}

func (t *EdgeTLS) on() bool { return *t != EdgeTLS{} }

// TenantConfig bounds what a tenant may use.
type TenantConfig struct {
	Sessions        int     `koanf:"sessions" doc:"connected at once, on all targets; 0: no bound"`
	TokensPerMinute int     `koanf:"tokens_per_minute" doc:"prompt tokens that are run, each time anew, and tokens of answers; 0: no bound"`
	Context         int     `koanf:"context" doc:"tokens of a prompt and its answer; 0: the target's context"`
	Weight          float64 `koanf:"weight" doc:"share where steps have no place for all, as in cloud.weights"`
}

// shares are the tenants' weights.
func (c *CloudConfig) shares() map[string]float64 {
	all := maps.Clone(c.Weights)
	if all == nil {
		all = map[string]float64{}
	}
	for name, t := range c.Tenants {
		if t.Weight > 0 {
			all[name] = t.Weight
		}
	}
	return all
}

func (c *CloudConfig) quotas() map[string]cloud.Quota {
	all := map[string]cloud.Quota{}
	for name, t := range c.Tenants {
		all[name] = cloud.Quota{Sessions: t.Sessions, TokensPerMinute: t.TokensPerMinute, Context: t.Context}
	}
	return all
}

// access is who may come into a cloud, and what is kept of it.
type access struct {
	tls      *trust.Server // nil: no TLS
	identify func(context.Context) (cloud.Peer, error)
	audit    func(cloud.Event) // nil: no log
	close    func()
}

// newAccess reads the certificates, tokens and so on that a configuration names.
func newAccess(c *CloudConfig, log *slog.Logger) (_ *access, err error) {
	a := &access{identify: cloud.HeaderTenant, close: func() {}}
	auth := &trust.Authenticator{}
	if c.Tokens != "" {
		keys, err := openai.OpenKeys(c.Tokens)
		if err != nil {
			return nil, err
		}
		auth.Tokens = keys.Find
	}
	if t := c.TLS; t.Cert != "" {
		a.tls, err = trust.NewServer(trust.ServerFiles{Cert: t.Cert, Key: t.Key, ClientCA: t.ClientCA, CRL: t.CRL, Optional: auth.Tokens != nil}, log)
		if err != nil {
			return nil, err
		}
		if t.ClientCA != "" {
			auth.TLS = a.tls
		}
	}
	if auth.TLS != nil || auth.Tokens != nil {
		a.identify = func(ctx context.Context) (cloud.Peer, error) {
			p, err := auth.Authenticate(ctx, cloud.ClaimedTenant(ctx))
			return cloud.Peer{Tenant: p.Tenant, Edge: p.Edge, Valid: p.Valid}, err
		}
	}
	if c.Audit != "" {
		f, err := os.OpenFile(c.Audit, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, usagef("cloud.audit: %w", err)
		}
		w := &auditFile{f: f, log: log}
		a.audit, a.close = w.add, func() { _ = f.Close() } // each line has been written
	}
	if a.tls != nil {
		a.tls.Refused = func(remote net.Addr, err error) {
			log.Info("a connection was refused", "remote", remote.String(), "error", err)
			if a.audit != nil {
				a.audit(cloud.Event{Time: time.Now().UTC(), Event: "denied", Remote: remote.String(), Reason: err.Error()})
			}
		}
	}
	return a, nil
}

// options are the cloud's transport.
func (a *access) options() []grpc.ServerOption {
	if a.tls == nil {
		return nil
	}
	return []grpc.ServerOption{grpc.Creds(a.tls.Credentials())}
}

// watch closes what is not valid any more, until ctx is done.
func (a *access) watch(ctx context.Context) {
	if a.tls != nil {
		a.tls.Watch(ctx)
	}
}

// auditFile writes events, one JSON object a line.
type auditFile struct {
	log *slog.Logger

	mu     sync.Mutex
	f      *os.File
	failed bool
}

func (w *auditFile) add(e cloud.Event) {
	line, err := json.Marshal(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		_, err = w.f.Write(append(line, '\n'))
	}
	if err != nil && !w.failed {
		w.log.Error("the audit log cannot be written", "file", w.f.Name(), "error", err)
	}
	w.failed = err != nil
}
