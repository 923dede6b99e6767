package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/outrider-llm/outrider/edge/openai"
)

// sdk is an official OpenAI SDK: how its pinned version is installed in a folder that holds a copy of its
// files, and how its script runs there.
type sdk struct {
	name    string
	install [][]string
	run     []string
}

var sdks = []sdk{
	{"go", [][]string{{"go", "build", "-o", "check.exe", "."}}, []string{"./check.exe"}},
	{"node", [][]string{{"npm", "install", "--no-audit", "--no-fund", "--silent"}}, []string{"node", "check.js"}},
	{"python", [][]string{{"python3", "-m", "venv", "venv"}, {"venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"}},
		[]string{"venv/bin/python", "check.py"}},
}

// sdkFeatures are what each script reports on, in this order.
var sdkFeatures = []string{"models", "whole", "streaming", "parameters", "tools", "streamed_tools", "structured", "responses",
	"errors", "retries", "cancellation"}

// folder installs the SDK in a cache folder named by what is installed, and returns it.
func (k sdk) folder(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join("..", "..", "test", "sdk", k.name, "*.*"))
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	content := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d %s", filepath.Base(f), len(b), b)
		content[filepath.Base(f)] = b
	}
	dir := filepath.Join(cache, "outrider-verify", k.name+"-"+hex.EncodeToString(hash.Sum(nil)[:6]))
	if fileExists(filepath.Join(dir, "installed")) {
		return dir, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, b := range content {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	for _, c := range k.install {
		cmd := exec.CommandContext(ctx, c[0], c[1:]...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("`%s` in %s: %w: %s", strings.Join(c, " "), dir, err, out)
		}
	}
	return dir, os.WriteFile(filepath.Join(dir, "installed"), nil, 0o600)
}

// flaky passes requests on to a server, but refuses the first two of each X-Case.
func flaky(t *testing.T, target string) string {
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[string]int{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := seen[r.Header.Get("X-Case")]
		seen[r.Header.Get("X-Case")]++
		mu.Unlock()
		if n > 1 {
			proxy.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[n])
		fmt.Fprint(w, `{"error":{"message":"try again","type":"rate_limit_error","param":null,"code":"rate_limit_exceeded"}}`)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/v1"
}

// keyed starts a stack whose edge asks for a key, and returns it with the key.
func keyed(t *testing.T, c stackConfig) (*stack, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "keys")
	key, err := openai.AddKey(file, "test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	c.edgeArgs = append(c.edgeArgs, "--keys", file)
	s, err := startStack(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s, key
}

// The official SDKs work with an edge as they do with OpenAI; docs/api.md has the table.
func TestSDKs(t *testing.T) {
	if !verifying() {
		t.Skip("set OUTRIDER_VERIFY=1 to install OpenAI's SDKs and run them")
	}
	s, key := keyed(t, stackConfig{rtt: 4 * time.Millisecond, draft: "outrider-demo-draft", cloudArgs: []string{"--pace", "10ms+0.1ms"}})
	base := "http://" + s.edge.http()
	env := append(os.Environ(), "OUTRIDER_URL="+base+"/v1", "OUTRIDER_KEY="+key, "OUTRIDER_FLAKY="+flaky(t, base))
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "SDK\t"+strings.Join(sdkFeatures, "\t"))
	for _, k := range sdks {
		t.Run(k.name, func(t *testing.T) {
			cells := k.check(t, env)
			row := k.name
			for _, f := range sdkFeatures {
				if cells[f] != "ok" {
					t.Errorf("%s: %q", f, cells[f])
					cells[f] = "FAIL"
				}
				row += "\t" + cells[f]
			}
			fmt.Fprintln(w, row)
		})
	}
	_ = w.Flush() // to memory
	t.Logf("\n%s", table.String())
}

// check runs an SDK's script and returns what it says of each feature.
func (k sdk) check(t *testing.T, env []string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // the Go SDK compiles for minutes
	defer cancel()
	cells := map[string]string{}
	dir, err := k.folder(ctx)
	if err != nil {
		t.Errorf("cannot install OpenAI's SDK for %s: %v", k.name, err)
		return cells
	}
	cmd := exec.CommandContext(ctx, k.run[0], k.run[1:]...)
	cmd.Dir, cmd.Env = dir, env
	var errs tail
	cmd.Stderr = &errs
	out, _ := cmd.Output() // the lines tell
	for line := range strings.Lines(string(out)) {
		verdict, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, why, _ := strings.Cut(rest, " ")
		cells[name] = strings.TrimSpace(verdict + " " + why)
	}
	if len(cells) == 0 {
		t.Errorf("%s said nothing: %s", k.name, errs.last())
	}
	return cells
}
