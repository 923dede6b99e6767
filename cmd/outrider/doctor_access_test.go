package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/trust"
)

// TestDoctorOnCertificatesAndClouds: what has ended, what ends soon, and who does not answer is told with advice.
func TestDoctorOnCertificatesAndClouds(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	now := time.Now()
	a, err := trust.Init("certs", "test", 100*24*time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := trust.ParseIdentity("acme/laptop")
	pair, err := a.IssueEdge(id, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cfg := defaultConfig()
	cfg.Edge.TLS.CA, cfg.Edge.TLS.Cert, cfg.Edge.TLS.Key = a.CA(), pair.Cert, pair.Key
	for at, want := range map[time.Duration]string{0: "soon: renew it", 48 * time.Hour: "it ended on", -48 * time.Hour: "clock right?"} {
		var out strings.Builder
		err := certificateReport(&cfg, now.Add(at), &out)
		if !strings.Contains(out.String(), want) || (err == nil) != (at == 0) {
			t.Errorf("in %s: %v\n%s", at, err, out.String())
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	_ = l.Close()
	for text, want := range map[string]string{
		"edge: {cloud: " + closed + "}":                                            "is outrider cloud running there",
		"edge: {cloud: 'nowhere.invalid:7600', insecure: true}":                    "the name is not known here",
		"edge: {tls: {ca: nothing.pem}}":                                           "nothing.pem",
		"cloud: {tls: {cert: nothing.pem, key: k}}\nedge: {cloud: " + closed + "}": "nothing.pem",
	} {
		if err := os.WriteFile("c.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := outrider(t, "", "doctor", "--config", filepath.Join(dir, "c.yaml"))
		if code != exitError || !strings.Contains(errs, want) {
			t.Errorf("%s: %d: %s%s", text, code, out, errs)
		}
	}
	if _, out, _ := outrider(t, "", "doctor"); !strings.Contains(out, "that is its default") {
		t.Errorf("the default cloud: %s", out)
	}
}
