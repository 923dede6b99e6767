package main

import (
	"net"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/trust"
)

// What other machines reach must say who may come in, unless that is not wanted by name.

// reachable says whether other machines reach a listener.
func reachable(l net.Listener) bool {
	a, ok := l.Addr().(*net.TCPAddr)
	return !ok || !a.IP.IsLoopback()
}

// reachesOut says whether an address that is dialled is on another machine.
func reachesOut(addr string) bool {
	if strings.HasPrefix(addr, "unix:") {
		return false
	}
	if i := strings.LastIndex(addr, "/"); i >= 0 { // dns:///host:port
		addr = addr[i+1:]
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host != "localhost" && (ip == nil || !ip.IsLoopback())
}

// guarded refuses to serve other machines without TLS, or whoever comes.
func (c *CloudConfig) guarded(l net.Listener) error {
	switch {
	case c.Insecure || !reachable(l):
		return nil
	case c.TLS.Cert == "":
		return usagef("cloud.listen is %s, which other machines reach, and there is no TLS: make certificates with `outrider certs init` and set cloud.tls (docs/security.md), "+
			"or say cloud.insecure: true (--insecure) on a network that you trust", c.Listen)
	case c.TLS.ClientCA == "" && c.Tokens == "":
		return usagef("cloud.listen is %s, which other machines reach, and everybody may come in: set cloud.tls.client_ca or cloud.tokens (docs/security.md), "+
			"or say cloud.insecure: true (--insecure)", c.Listen)
	}
	return nil
}

// guarded refuses to serve other machines without keys.
func (c *EdgeConfig) guarded(l edgeListeners) error {
	if c.Insecure {
		return nil
	}
	if reachable(l.grpc) {
		return usagef("edge.listen is %s, which other machines reach, and asks nobody who they are: use an address of 127.0.0.1, or say edge.insecure: true (--insecure) on a network that you trust", c.Listen)
	}
	if l.web != nil && c.Keys == "" && reachable(l.web) {
		return usagef("edge.http is %s, which other machines reach: make a key with `outrider keys add NAME` and name its file with --keys (edge.keys), use an address of 127.0.0.1, "+
			"or say edge.insecure: true (--insecure) on a network that you trust", c.HTTP)
	}
	return nil
}

// plain refuses to send what people ask over a network in plain text.
func (c *EdgeConfig) plain() error {
	if c.Insecure || c.TLS.on() || !slices.ContainsFunc(edge.Addresses(c.Cloud), reachesOut) {
		return nil
	}
	return usagef("edge.cloud is %s on another machine, and there is no TLS: set edge.tls.ca to the cloud's authority (docs/security.md), "+
		"or say edge.insecure: true (--insecure) on a network that you trust", c.Cloud)
}

// tokenVariable holds an edge's token where no file does. It is no setting, so that nothing prints it.
const tokenVariable = "OUTRIDER_EDGE_TOKEN"

// credentials are what an edge shows to its cloud.
func (r *serverRun) credentials() (o []grpc.DialOption, err error) {
	c := &r.cfg.Edge
	if c.TLS.on() {
		t, err := trust.NewClient(trust.ClientFiles{CA: c.TLS.CA, Cert: c.TLS.Cert, Key: c.TLS.Key, ServerName: c.TLS.ServerName}, r.log)
		if err != nil {
			return nil, err
		}
		o = append(o, grpc.WithTransportCredentials(t))
	}
	var token *trust.Token
	if c.TokenFile != "" {
		if token, err = trust.FileToken(c.TokenFile, !c.TLS.on()); err != nil {
			return nil, err
		}
	} else if text := os.Getenv(tokenVariable); text != "" {
		token = trust.FixedToken(text, !c.TLS.on())
	}
	if token != nil {
		o = append(o, grpc.WithPerRPCCredentials(token))
	}
	return o, nil
}

// accessErrors checks the settings of who may come in.
func (c *Config) accessErrors() (errs []error) {
	pair := func(key, cert, private string) {
		if (cert == "") != (private == "") {
			errs = append(errs, c.from.wrong(key, "%s needs cert and key, or neither", key))
		}
	}
	pair("cloud.tls", c.Cloud.TLS.Cert, c.Cloud.TLS.Key)
	pair("edge.tls", c.Edge.TLS.Cert, c.Edge.TLS.Key)
	if t := c.Cloud.TLS; t.Cert == "" && t.ClientCA != "" {
		errs = append(errs, c.from.wrong("cloud.tls.client_ca", "cloud.tls.client_ca without cloud.tls.cert: edges' certificates need the cloud's"))
	}
	if t := c.Cloud.TLS; t.ClientCA == "" && t.CRL != "" {
		errs = append(errs, c.from.wrong("cloud.tls.crl", "cloud.tls.crl without cloud.tls.client_ca: no certificates are asked for that could be revoked"))
	}
	for name, t := range c.Cloud.Tenants {
		key := "cloud.tenants[" + name + "]"
		if t.Sessions < 0 || t.TokensPerMinute < 0 || t.Context < 0 || !(t.Weight >= 0 && t.Weight <= 1e6) {
			errs = append(errs, c.from.wrong(key, "cloud.tenants: %s has a bound below 0 or a weight above a million; 0 means none", name))
		}
		if !trust.ValidName(name) {
			errs = append(errs, c.from.wrong(key, "cloud.tenants: %q cannot be a tenant's name: use letters, digits, dots, hyphens and underscores", name))
		}
	}
	return errs
}
