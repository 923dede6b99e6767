//go:build linux

package backend_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/confine"
)

// TestConfinedPlugin: a plugin reads its model and what its settings name, writes into its own folder, and nothing else.
func TestConfinedPlugin(t *testing.T) {
	if s := confine.Support(); s.Landlock == 0 {
		t.Skip(s.Lacking)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"work", "extra", "kept"} {
		if err := os.Mkdir(at(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"model", "tokens", "option", "extra/file"} {
		if err := os.WriteFile(at(f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	// "file:" hides a path from the host, which lets a plugin read what its settings name.
	c := self("probe", "read model", "file:"+at("model"), "read tokens", "file:"+at("tokens"), "read option", at("option"), "read extra", "file:"+at("extra/file"),
		"write model", "file:"+at("model"), "write work", "file:"+at("work/x"), "write kept", "file:"+at("kept/x"), "write outside", "file:"+at("x"), "temp", "", "dial", l.Addr().String())
	c.Model, c.Dir = at("model"), at("work")
	c.Confine = &confine.Policy{Read: []string{at("extra")}, Write: []string{at("kept")}}
	h := launch(t, c)
	got := h.Info().Name
	for _, want := range []string{"read model: true", "read tokens: false", "read option: true", "read extra: true", "write model: false", "write work: true", "write kept: true",
		"write outside: false", "temp: true", "dial: false"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s: not so in\n%s", want, got)
		}
	}
	if confine.Support().Seccomp {
		c.Confine.Network = true
		if got := launch(t, c).Info().Name; !strings.Contains(got, "dial: true") {
			t.Errorf("with the network allowed:\n%s", got)
		}
	}
	c.Confine = nil
	if got := launch(t, c).Info().Name; strings.Contains(got, "false") {
		t.Errorf("unconfined:\n%s", got)
	}
	// What fails for want of rights says where to give them.
	c = self("probe", "need tokens", "file:"+at("tokens"))
	c.Confine = &confine.Policy{}
	if _, err := backend.Launch(background(t), c); !errors.Is(err, backend.ErrLoad) || !strings.Contains(err.Error(), "add to read or write") {
		t.Errorf("%v", err)
	}
}
