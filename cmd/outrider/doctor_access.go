package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/outrider-llm/outrider/edge"
	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
	"github.com/outrider-llm/outrider/trust"
)

// nearEnd is when a certificate's end is near.
const nearEnd = 14 * 24 * time.Hour

// askTime bounds how long the doctor waits for one cloud.
const askTime = 3 * time.Second

// accessReport looks at certificates, the clock and the way to each cloud; an error when something that was configured does
// not work. A cloud that is only the default's is not missed.
func accessReport(ctx context.Context, cfg *Config, now time.Time, w io.Writer) error {
	fmt.Fprintln(w, "access")
	failed := certificateReport(cfg, now, w)
	if advice := clockAdvice(); advice != "" {
		fmt.Fprintf(w, "  %-11s %s\n", "clock", advice)
	}
	named := cfg.from.at("edge.cloud") != ""
	options, err := (&serverRun{cfg: cfg, log: slog.New(slog.DiscardHandler)}).credentials()
	if err != nil {
		return firstOf(failed, err)
	}
	if !cfg.Edge.TLS.on() {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	}
	for _, addr := range edge.Addresses(cfg.Edge.Cloud) {
		for _, r := range replicasAt(ctx, addr) {
			state, err := r.ask(ctx, options)
			if err != nil {
				state = oneLine(err)
				if named {
					failed = firstOf(failed, fmt.Errorf("cloud %s: %w", r.label(), err))
				} else {
					state = "none answers (edge.cloud is not set; that is its default)"
				}
			}
			fmt.Fprintf(w, "  %-11s %s: %s\n", "cloud", r.label(), state)
		}
	}
	return failed
}

// certificateReport says how long each certificate lasts.
func certificateReport(cfg *Config, now time.Time, w io.Writer) (failed error) {
	for _, f := range []struct{ key, path string }{
		{"cloud.tls.cert", cfg.Cloud.TLS.Cert}, {"cloud.tls.client_ca", cfg.Cloud.TLS.ClientCA}, {"edge.tls.ca", cfg.Edge.TLS.CA}, {"edge.tls.cert", cfg.Edge.TLS.Cert},
	} {
		if f.path == "" {
			continue
		}
		state := ""
		all, err := trust.ReadCertificates(f.path)
		if err == nil {
			switch c := all[0]; {
			case now.After(c.NotAfter):
				err = fmt.Errorf("it ended on %s: renew it (outrider certs renew)", c.NotAfter.Format(time.DateOnly))
			case now.Before(c.NotBefore):
				err = fmt.Errorf("it begins on %s: is this machine's clock right?", c.NotBefore.Format(time.DateTime))
			case c.NotAfter.Sub(now) < nearEnd:
				state = fmt.Sprintf("ends on %s, soon: renew it (outrider certs renew)", c.NotAfter.Format(time.DateOnly))
			default:
				state = fmt.Sprintf("ok until %s", c.NotAfter.Format(time.DateOnly))
			}
		}
		if err != nil {
			state = oneLine(err)
			failed = firstOf(failed, fmt.Errorf("%s: %w", f.key, err))
		}
		fmt.Fprintf(w, "  %-11s %s, %s: %s\n", "certificate", f.key, f.path, state)
	}
	return failed
}

// replica is one address of a cloud.
type replica struct {
	name string // that its certificate must have; empty: none is known
	addr string // host:port, or what gRPC takes as it is
	err  error  // why there is no address
}

func (r replica) label() string {
	if host, _, err := net.SplitHostPort(r.addr); err == nil && r.name != "" && host != r.name {
		return r.name + " at " + r.addr
	}
	return r.addr
}

// replicasAt lists the replicas behind an address: each address of its name.
func replicasAt(ctx context.Context, addr string) []replica {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(addr, "dns:///"))
	if strings.HasPrefix(addr, "xds:") || strings.HasPrefix(addr, "unix:") || err != nil {
		return []replica{{addr: addr}}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return []replica{{name: host, addr: net.JoinHostPort(host, port), err: fmt.Errorf("the name is not known here: correct edge.cloud, or the resolver (%w)", err)}}
	}
	var out []replica
	for _, ip := range ips {
		out = append(out, replica{name: host, addr: net.JoinHostPort(ip, port)})
	}
	return out
}

// ask says what a replica serves.
func (r replica) ask(ctx context.Context, options []grpc.DialOption) (string, error) {
	if r.err != nil {
		return "", r.err
	}
	target := r.addr
	if r.name != "" {
		target, options = "passthrough:///"+r.addr, append([]grpc.DialOption{grpc.WithAuthority(r.name)}, options...)
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // nothing was written
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	begun := time.Now()
	m, err := outriderv1.NewDecodeServiceClient(conn).ListModels(ctx, &outriderv1.ListModelsRequest{})
	took := time.Since(begun)
	if err != nil {
		return "", advised(err)
	}
	var names []string
	for _, t := range m.GetModels() {
		names = append(names, t.GetName())
	}
	return fmt.Sprintf("ok, serves %s; answers in %s, the connection's beginning included", strings.Join(names, ", "), took.Round(100*time.Microsecond)), nil
}

// advised says what to do about a cloud that does not answer.
func advised(err error) error {
	s := status.Convert(err)
	text, advice := oneLine(err), "is outrider cloud running there, and the port open to this machine?"
	switch {
	case s.Code() == codes.Unauthenticated || s.Code() == codes.PermissionDenied:
		advice = "set edge.tls.cert and key, or edge.token_file (docs/security.md)"
	case strings.Contains(text, "x509:") || strings.Contains(text, "certificate"):
		advice = "edge.tls.ca must be the cloud's authority, and its certificate made for this name (outrider certs server --host)"
	case strings.Contains(text, "tls:") || strings.Contains(text, "first record") || strings.Contains(text, "EOF") || strings.Contains(text, "connection reset"):
		advice = "one side speaks TLS and the other does not, or the cloud refuses this edge's certificate (its log says why): see edge.tls"
	case s.Code() == codes.DeadlineExceeded:
		text = "no answer within " + askTime.String()
	}
	return fmt.Errorf("%s: %s", strings.TrimPrefix(strings.TrimPrefix(text, "rpc error: "), "code = Unavailable desc = "), advice)
}
