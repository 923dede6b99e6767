package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/outrider-llm/outrider/models"
)

// oldest is the commit whose edges and clouds this one must work with (docs/compatibility.md).
const oldest = "345cdcd"

// buildOldest builds the program of that commit.
func buildOldest(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	git := func(args ...string) error {
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", root}, args...)...).CombinedOutput()
		if err != nil {
			t.Log(strings.TrimSpace(string(out)))
		}
		return err
	}
	if git("cat-file", "-e", oldest+"^{commit}") != nil {
		t.Skipf("commit %s is not in this clone (git fetch --unshallow): nothing was compared with it", oldest)
	}
	dir := filepath.Join(t.TempDir(), "oldest")
	if err := git("worktree", "add", "--detach", dir, oldest); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = git("worktree", "remove", "--force", dir) })
	bin := filepath.Join(t.TempDir(), "outrider-oldest")
	b := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", bin, "./cmd/outrider")
	b.Dir, b.Env = dir, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := b.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return bin
}

// TestOldestAndNow: an old edge with this cloud, and this edge with an old cloud, say what this edge says with this
// cloud, greedily and sampled, with proposals that are accepted.
func TestOldestAndNow(t *testing.T) {
	if !verifying() {
		t.Skip("builds another commit: make verify")
	}
	old := launch{program: buildOldest(t), wrap: []string{"env", "-u", "OUTRIDER_EDGE_HTTP"}} // a setting that it does not know
	prompts := map[string][]string{"greedy": {"-t", "0"}, "sampled": {"-t", "0.8", "--top-k", "12"}}
	want := map[string]string{}
	for _, c := range []struct {
		name        string
		cloud, edge launch
	}{{"this edge, this cloud", launch{}, launch{}}, {"old edge, this cloud", launch{}, old}, {"this edge, old cloud", old, launch{}}, {"both old", old, old}} {
		s, err := startStack(t.Context(), stackConfig{draft: models.DraftName, rtt: 20 * time.Millisecond, edgeArgs: []string{"--run-ahead", "0.5"}, onCloud: c.cloud, onEdge: c.edge})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for name, args := range prompts {
			got := askEdge(t, s.edge.addr(), args...)
			if want[name] == "" {
				want[name] = got.Text
			}
			if got.Text != want[name] || got.Figures.AcceptanceRate == 0 {
				t.Errorf("%s, %s: acceptance %g: %q, want %q", c.name, name, got.Figures.AcceptanceRate, got.Text, want[name])
			}
		}
		s.stop()
	}
	t.Run("upgrade", func(t *testing.T) { upgradeUnderWay(t, old) })
}

// upgradeUnderWay replaces an old cloud by this one in the middle of an answer: the edge goes on there.
func upgradeUnderWay(t *testing.T, old launch) {
	want := ""
	for try := range 6 { // an answer may end before the cloud does
		s, err := startStack(t.Context(), stackConfig{draft: models.DraftName, rtt: 40 * time.Millisecond, onCloud: old})
		if err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = askEdge(t, s.edge.addr(), "-n", "400").Text
		}
		got := make(chan said, 1)
		go func() { got <- askEdge(t, s.edge.addr(), "-n", "400") }()
		time.Sleep(time.Duration(100+100*try) * time.Millisecond)
		s.cloud.kill()
		s.c.onCloud = launch{}
		if err := s.restartCloud(t.Context()); err != nil {
			t.Fatal(err)
		}
		answer := <-got
		s.stop()
		if answer.Text != want {
			t.Fatalf("%q, want %q", answer.Text, want)
		}
		if answer.Resumes > 0 {
			return
		}
	}
	t.Error("no answer was under way when the cloud was replaced")
}
