package edge

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/serviceconfig"
)

// Ways to name a cloud beside host:port.
const (
	dnsScheme = "dns" // every address behind the name is a replica
	xdsScheme = "xds" // a control plane says which replica
)

// CheckTarget says what is wrong with a name of the cloud that has a scheme; names without have none.
func CheckTarget(name string) error {
	scheme, _, found := strings.Cut(name, "://")
	switch u, err := url.Parse(name); {
	case !found:
	case scheme == xdsScheme && resolver.Get(scheme) == nil:
		return fmt.Errorf("%q: this build of outrider has no xDS: build it with -tags xds (docs/deployment.md)", name)
	case resolver.Get(scheme) == nil:
		return fmt.Errorf("%q begins with %s://: use host:port, dns:///host:port or xds:///name", name, scheme)
	case err != nil || strings.Trim(u.Path, "/") == "":
		return fmt.Errorf("%q names nothing: use dns:///host:port or xds:///name", name)
	case scheme == dnsScheme:
		if _, _, err := net.SplitHostPort(strings.TrimPrefix(u.Path, "/")); err != nil {
			return fmt.Errorf("%q has no port: use dns:///host:port", name)
		}
	}
	return nil
}

// schemed says whether a name of the cloud has a scheme.
func schemed(name string) bool { return strings.Contains(name, "://") }

// discovered is the host:port whose addresses are to be found behind a name of the cloud; false: the name
// is dialled as it is. Behind a proxy that is so, too: the proxy finds the host.
func discovered(name string) (*url.URL, bool) {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != dnsScheme {
		return nil, false
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(u.Path, "/"))
	if err != nil || net.ParseIP(host) != nil {
		return nil, false
	}
	through, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: strings.TrimPrefix(u.Path, "/")}})
	return u, err == nil && through == nil
}

// finder follows what a name stands for by gRPC's own resolver, which asks again when told to, every 30 s
// at most.
type finder struct {
	name string // as configured
	host string // host:port, for certificates
	tell func(addresses []string)
	l    *uplink
	r    resolver.Resolver
}

// find begins to follow a name; tell is called from another goroutine.
func (l *uplink) find(name string, u *url.URL, tell func(*finder, []string)) (*finder, error) {
	f := &finder{name: name, host: strings.TrimPrefix(u.Path, "/"), l: l}
	f.tell = func(addresses []string) { tell(f, addresses) }
	var err error
	f.r, err = resolver.Get(dnsScheme).Build(resolver.Target{URL: *u}, f, resolver.BuildOptions{DisableServiceConfig: true})
	return f, err
}

// UpdateState implements resolver.ClientConn.
func (f *finder) UpdateState(s resolver.State) error {
	var out []string
	for _, e := range s.Endpoints {
		for _, a := range e.Addresses {
			out = append(out, a.Addr)
		}
	}
	f.tell(out)
	return nil
}

// ReportError implements resolver.ClientConn.
func (f *finder) ReportError(err error) {
	f.l.c.Logger.Warn("the replicas of the cloud cannot be looked up", "cloud", f.name, "error", oneLine(err.Error()))
}

// NewAddress implements resolver.ClientConn.
func (f *finder) NewAddress(a []resolver.Address) { _ = f.UpdateState(resolver.State{Addresses: a}) }

// ParseServiceConfig implements resolver.ClientConn.
func (f *finder) ParseServiceConfig(string) *serviceconfig.ParseResult {
	return &serviceconfig.ParseResult{}
}
