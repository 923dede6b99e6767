package pull

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const repo = "Qwen/Qwen2.5-0.5B-Instruct-GGUF"

// said collects what is told to the user.
type said struct {
	mu    sync.Mutex
	lines []string
}

func (s *said) say(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, a...))
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

func quick(h *hub, dir string) Config {
	return Config{Dir: dir, Endpoint: h.URL, MinWait: time.Millisecond, MaxWait: 20 * time.Millisecond, Retries: 3, Stall: 5 * time.Second,
		Free: func(string) (uint64, error) { return 1 << 40, nil }}
}

func pull(t *testing.T, c Config, ref string) (Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Pull(ctx, c, ref)
}

// same checks the file, and that nothing else is left.
func same(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d of %d bytes, equal %v, %v", path, len(got), len(want), bytes.Equal(got, want), err)
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPull(t *testing.T) {
	h := newHub(t)
	q8, q4 := model(t, 1, 1<<20), model(t, 2, 300<<10)
	h.add(repo+"/qwen2.5-0.5b-instruct-q8_0.gguf", q8)
	h.add(repo+"/qwen2.5-0.5b-instruct-q4_k_m.gguf", q4)
	h.add(repo+"/mmproj-f16.gguf", model(t, 3, 100))
	h.page = 2
	dir := t.TempDir()
	for _, x := range []struct {
		ref  string
		want []byte
	}{
		{repo + ":q8_0", q8}, {repo, q4}, {repo + ":qwen2.5-0.5b-instruct-q8_0.gguf", q8}, {repo + "@main:Q8_0", q8},
		{h.URL + "/" + repo + "/resolve/main/qwen2.5-0.5b-instruct-q8_0.gguf?download=true", q8},
		{h.URL + "/" + repo + "/blob/main/qwen2.5-0.5b-instruct-q4_k_m.gguf", q4},
	} {
		var last Progress
		c := quick(h, dir)
		c.Progress = func(p Progress) { last = p }
		r, err := pull(t, c, x.ref)
		if err != nil {
			t.Fatalf("%s: %v", x.ref, err)
		}
		same(t, r.Path, x.want)
		if !r.Checked || r.Bytes != int64(len(x.want)) || len(r.Files) != 1 || last.Done != last.Total || last.Total != r.Bytes {
			t.Errorf("%s: %+v, %+v", x.ref, r, last)
		}
		if want := filepath.Join(dir, filepath.FromSlash(repo)); filepath.Dir(r.Path) != want {
			t.Errorf("%s lies in %s, want %s", x.ref, filepath.Dir(r.Path), want)
		}
	}
	if n := len(h.ranges); n != 2 {
		t.Errorf("%d transfers, want 2: what is there is not fetched again", n)
	}
}

func TestFaultsOfTheServer(t *testing.T) {
	data := model(t, 1, 1<<20)
	n := len(data)
	name := repo + "/m-q8_0.gguf"
	for _, x := range []struct {
		name   string
		faults []fault
		api    []int
		want   error // nil: it ends well all the same
		text   string
		from   []string // ranges asked for; nil: not looked at
	}{
		{name: "cut", faults: []fault{{cut: 1000}, {cut: 5000}, {cut: n - 7000}}, from: []string{"", "bytes=1000-", "bytes=6000-", fmt.Sprintf("bytes=%d-", n-1000)}},
		{name: "cut before the first byte", faults: []fault{{cut: 0, stall: false, status: 502}, {cut: 1}}, from: []string{"", "", "bytes=1-"}},
		{name: "many cuts with progress", faults: []fault{{cut: 9}, {cut: 9}, {cut: 9}, {cut: 9}, {cut: 9}, {cut: 9}}},
		{name: "429", faults: []fault{{status: 429, retry: "0"}, {status: 429}}},
		{name: "429 for an hour", faults: []fault{{status: 429, retry: "3600"}}, want: ErrNetwork, text: "1h0m0s"},
		{name: "500, 503, then well", faults: []fault{{status: 500}, {status: 503}}},
		{name: "500 for ever", faults: slices.Repeat([]fault{{status: 500}}, 9), want: ErrNetwork, text: "500"},
		{name: "500 in mid-way", faults: []fault{{cut: 3000}, {status: 500}}, from: []string{"", "bytes=3000-", "bytes=3000-"}},
		{name: "404", faults: []fault{{status: 404}}, want: ErrNotFound, text: "spelling"},
		{name: "403", faults: []fault{{status: 403}}, want: ErrRefused, text: "HF_TOKEN"},
		{name: "416", faults: []fault{{cut: 1000}, {status: 416}}, from: []string{"", "bytes=1000-", ""}},
		{name: "416 for ever", faults: slices.Repeat([]fault{{status: 416}}, 9), want: ErrNetwork},
		{name: "no ranges", faults: []fault{{cut: 1000}, {noRanges: true}}, from: []string{"", "bytes=1000-"}},
		{name: "wrong range", faults: []fault{{cut: 1000}, {shift: 77}}, from: []string{"", "bytes=1000-", ""}},
		{name: "corrupt", faults: []fault{{corrupt: true}}, want: ErrChecksum, text: "nothing was kept"},
		{name: "log-in page", faults: []fault{{html: true}}, want: ErrNotGGUF, text: "web page"},
		{name: "API 500, then well", api: []int{500, 502, 200}},
		{name: "API 404", api: []int{404}, want: ErrNotFound},
		{name: "API 401", api: []int{401}, want: ErrRefused, text: "HF_TOKEN"},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newHub(t)
			h.add(name, data)
			h.faults, h.api = x.faults, x.api
			dir := t.TempDir()
			r, err := pull(t, quick(h, dir), repo)
			if x.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				same(t, r.Path, data)
			} else {
				if !errors.Is(err, x.want) || !strings.Contains(err.Error(), x.text) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %v with %q", err, x.want, x.text)
				}
				if strings.Contains(err.Error(), "Signature") {
					t.Errorf("a signed address in %v", err)
				}
				if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
					t.Error("the file has its name although the pull failed")
				}
			}
			if x.from != nil && !slices.Equal(h.ranges, x.from) {
				t.Errorf("ranges %q, want %q", h.ranges, x.from)
			}
		})
	}
}

func TestResumeInAnotherRun(t *testing.T) {
	data := model(t, 1, 1<<20)
	for _, x := range []struct {
		name    string
		between func(h *hub, part string)
		from    string // of the second run's first request
	}{
		{name: "as it is", from: "bytes=200000-"},
		{name: "no state", between: func(_ *hub, part string) { os.Remove(part + stateSuffix) }},
		{name: "damaged state", between: func(_ *hub, part string) { os.WriteFile(part+stateSuffix, []byte("{"), 0o600) }},
		{name: "damaged part", from: "bytes=200000-", between: func(_ *hub, part string) {
			b, _ := os.ReadFile(part)
			b[100] ^= 1
			os.WriteFile(part, b, 0o600)
		}},
		{name: "longer than the file", between: func(_ *hub, part string) { os.Truncate(part, 9<<20) }},
		{name: "new version", between: func(h *hub, _ string) { h.files[repo+"/m-q8_0.gguf"] = model(t, 9, 1<<20) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			h := newHub(t)
			h.add(repo+"/m-q8_0.gguf", data)
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(context.Background())
			h.faults = []fault{{cut: 200000, stall: true}}
			c := quick(h, dir)
			c.Progress = func(p Progress) {
				if p.Done == 200000 {
					cancel()
				}
			}
			if _, err := Pull(ctx, c, repo); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			part := filepath.Join(dir, filepath.FromSlash(repo), "m-q8_0.gguf"+partSuffix)
			if st, err := os.Stat(part); err != nil || st.Size() != 200000 {
				t.Fatalf("%v %v", st, err)
			}
			if x.between != nil {
				x.between(h, part)
			}
			h.mu.Lock()
			h.ranges = nil
			h.mu.Unlock()
			r, err := pull(t, quick(h, dir), repo)
			if err != nil {
				t.Fatal(err)
			}
			same(t, r.Path, h.files[repo+"/m-q8_0.gguf"])
			if h.ranges[0] != x.from {
				t.Errorf("ranges %q, want the first to be %q", h.ranges, x.from)
			}
			if x.from != "" && x.name == "as it is" && r.Fetched != r.Bytes-200000 {
				t.Errorf("fetched %d of %d", r.Fetched, r.Bytes)
			}
		})
	}
}

// TestPlainURL: without a checksum the ETag says whether it is still the same file.
func TestPlainURL(t *testing.T) {
	data := model(t, 1, 500<<10)
	h := newHub(t)
	h.add("files/m.gguf", data)
	at := h.cdn.URL + "/files/m.gguf"
	h.faults = []fault{{cut: 100000}}
	r, err := pull(t, quick(h, t.TempDir()), at)
	if err != nil {
		t.Fatal(err)
	}
	same(t, r.Path, data)
	if r.Checked || !slices.Equal(h.ranges, []string{"", "bytes=100000-"}) {
		t.Errorf("%+v, ranges %q", r, h.ranges)
	}
	// Another version in mid-way: the whole of it is fetched.
	other := model(t, 2, 500<<10)
	h.faults = []fault{{cut: 100000}}
	c := quick(h, t.TempDir())
	var s said
	c.Say = func(f string, a ...any) {
		s.say(f, a...)
		h.mu.Lock()
		h.files["files/m.gguf"] = other
		h.mu.Unlock()
	}
	if r, err = pull(t, c, at); err != nil {
		t.Fatal(err)
	}
	same(t, r.Path, other) // If-Range made the server send all of it
	// No validator at all: never glue.
	h.files["files/m.gguf"], h.plain, h.ranges = data, true, nil
	h.faults = []fault{{cut: 100000}}
	if r, err = pull(t, quick(h, t.TempDir()), at); err != nil {
		t.Fatal(err)
	}
	same(t, r.Path, data)
	if !slices.Equal(h.ranges, []string{"", ""}) {
		t.Errorf("ranges %q", h.ranges)
	}
	// A checksum that the user gives.
	c = quick(h, t.TempDir())
	c.SHA256 = digest(other)
	if _, err = pull(t, c, at); !errors.Is(err, ErrChecksum) {
		t.Errorf("error %v", err)
	}
	c.SHA256 = strings.ToUpper(digest(data))
	if r, err = pull(t, c, at); err != nil || !r.Checked {
		t.Errorf("%+v %v", r, err)
	}
}

func TestNotAModel(t *testing.T) {
	h := newHub(t)
	good := model(t, 1, 5000)
	h.add("files/text.gguf", []byte("this is a text, not a model"))
	h.add("files/short.gguf", good[:len(good)-1000])
	for _, f := range []string{"text", "short"} {
		dir := t.TempDir()
		_, err := pull(t, quick(h, dir), h.cdn.URL+"/files/"+f+".gguf")
		if !errors.Is(err, ErrNotGGUF) {
			t.Errorf("%s: %v", f, err)
		}
		if found, _ := filepath.Glob(filepath.Join(dir, "*", "*.gguf")); len(found) > 0 {
			t.Errorf("%s: kept as %v", f, found)
		}
	}
}

func TestWrongChecksumAnnounced(t *testing.T) {
	h := newHub(t)
	h.add(repo+"/m.gguf", model(t, 1, 5000))
	h.lie[repo+"/m.gguf"] = strings.Repeat("ab", 32)
	dir := t.TempDir()
	for range 2 { // the second time nothing of the first may help
		if _, err := pull(t, quick(h, dir), repo); !errors.Is(err, ErrChecksum) {
			t.Errorf("error %v", err)
		}
	}
	h.lie[repo+"/m.gguf"] = "../../x"
	if _, err := pull(t, quick(h, dir), repo); err == nil {
		t.Error("an unusable checksum is taken")
	}
}

func TestDiskSpace(t *testing.T) {
	h := newHub(t)
	h.add(repo+"/m.gguf", model(t, 1, 1<<20))
	for _, ref := range []string{repo, h.cdn.URL + "/" + repo + "/m.gguf"} {
		c := quick(h, filepath.Join(t.TempDir(), "models"))
		c.Free = func(string) (uint64, error) { return spare + 1<<19, nil }
		_, err := pull(t, c, ref)
		if !errors.Is(err, ErrSpace) || !strings.Contains(err.Error(), "MB") {
			t.Errorf("%s: error %v", ref, err)
		}
		c.Free = func(string) (uint64, error) { return 0, errors.New("unknown") }
		if _, err := pull(t, c, ref); err != nil {
			t.Errorf("%s: free space unknown: %v", ref, err)
		}
	}
	if n, err := freeSpace(t.TempDir()); err != nil || n == 0 {
		t.Errorf("free space here: %d, %v", n, err)
	}
}

// TestDiskFull: the disk fills up while the file comes.
func TestDiskFull(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /dev/full")
	}
	h := newHub(t)
	h.add(repo+"/m.gguf", model(t, 1, 1<<20))
	dir := t.TempDir()
	part := filepath.Join(dir, filepath.FromSlash(repo), "m.gguf"+partSuffix)
	if err := errors.Join(os.MkdirAll(filepath.Dir(part), 0o755), os.Symlink("/dev/full", part)); err != nil {
		t.Fatal(err)
	}
	if _, err := pull(t, quick(h, dir), repo); err == nil || !strings.Contains(err.Error(), "free some space") {
		t.Errorf("error %v", err)
	}
}

func TestToken(t *testing.T) {
	h := newHub(t)
	data := model(t, 1, 5000)
	h.add(repo+"/m.gguf", data)
	h.token = "hf_secret"
	c := quick(h, t.TempDir())
	if _, err := pull(t, c, repo); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "HF_TOKEN") {
		t.Errorf("without: %v", err)
	}
	c.Token = "hf_wrong"
	if _, err := pull(t, c, repo); !errors.Is(err, ErrRefused) || strings.Contains(err.Error(), "hf_wrong") {
		t.Errorf("wrong: %v", err)
	}
	c.Token = "hf_secret"
	r, err := pull(t, c, repo)
	if err != nil {
		t.Fatal(err)
	}
	same(t, r.Path, data)
	if _, err := pull(t, c, h.cdnURL()+"/"+repo+"/m.gguf"); err != nil {
		t.Error(err)
	}
	if h.leaks > 0 {
		t.Errorf("the token went to another host %d times", h.leaks)
	}
}

func TestSplit(t *testing.T) {
	h := newHub(t)
	var parts [][]byte
	for i := range 3 {
		parts = append(parts, model(t, uint64(i), 100<<10))
		h.add(fmt.Sprintf("%s/big/m-q4_k_m-%05d-of-00003.gguf", repo, i+1), parts[i])
	}
	h.add(repo+"/m-q2_k.gguf", model(t, 7, 1000))
	dir := t.TempDir()
	r, err := pull(t, quick(h, dir), repo)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 3 || r.Path != r.Files[0] || !strings.HasSuffix(r.Path, "-00001-of-00003.gguf") || !r.Checked {
		t.Errorf("%+v", r)
	}
	for i, f := range r.Files {
		same(t, f, parts[i])
	}
	if _, err := pull(t, quick(h, dir), repo+":big/m-q4_k_m-00002-of-00003.gguf"); err != nil {
		t.Errorf("by a part's name: %v", err)
	}
	if _, err := pull(t, quick(h, dir), h.cdn.URL+"/"+repo+"/big/m-q4_k_m-00001-of-00003.gguf"); !errors.Is(err, ErrReference) || !strings.Contains(err.Error(), "merge") {
		t.Errorf("by a URL: %v", err)
	}
	delete(h.files, repo+"/big/m-q4_k_m-00003-of-00003.gguf")
	if _, err := pull(t, quick(h, dir), repo); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "2 of its 3 parts") {
		t.Errorf("incomplete: %v", err)
	}
}

func TestChoice(t *testing.T) {
	h := newHub(t)
	for _, f := range []string{"m-q2_k", "m-q3_k_m", "sub/m-q3_k_m"} {
		h.add(repo+"/"+f+".gguf", model(t, 1, 1000))
	}
	h.add("a/none/model.safetensors", []byte("x"))
	c := quick(h, t.TempDir())
	for ref, want := range map[string]error{
		repo: ErrChoose, repo + ":Q3_K_M": ErrChoose, repo + ":Q8_0": ErrNotFound, repo + "@v2": ErrNotFound, "a/none": ErrNotFound, "a/b": ErrNotFound,
		"": ErrReference, "m": ErrReference, "a/b/c": ErrReference, "../b": ErrReference, repo + ":": ErrReference, "ftp://x/y.gguf": ErrReference,
		"http://x/y.bin": ErrReference, "http:///y.gguf": ErrReference,
	} {
		if _, err := pull(t, c, ref); !errors.Is(err, want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %v", ref, err, want)
		}
	}
	if _, err := pull(t, c, repo+":sub/m-q3_k_m.gguf"); err != nil {
		t.Error(err)
	}
}

func TestHostileListing(t *testing.T) {
	h := newHub(t)
	for _, evil := range []string{"../../evil.gguf", "/etc/evil.gguf", "a/../../../evil.gguf", `..\evil.gguf`, "c:evil.gguf"} {
		h.files = map[string][]byte{repo + "/" + evil: model(t, 1, 1000)}
		if _, err := pull(t, quick(h, t.TempDir()), repo); err == nil {
			t.Errorf("%s was written", evil)
		}
	}
}

func TestTwoPulls(t *testing.T) {
	h := newHub(t)
	data := model(t, 1, 1<<20)
	h.add(repo+"/m.gguf", data)
	dir := t.TempDir()
	first, goOn := make(chan struct{}), make(chan struct{})
	h.faults = []fault{{before: func() { close(first); <-goOn }}}
	done := make(chan error)
	go func() {
		_, err := Pull(context.Background(), quick(h, dir), repo)
		done <- err
	}()
	<-first
	if _, err := pull(t, quick(h, dir), repo); !errors.Is(err, ErrBusy) {
		t.Errorf("error %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	same(t, filepath.Join(dir, filepath.FromSlash(repo), "m.gguf"), data)
	// A lock that a dead process left does not hold.
	l := flock.New(filepath.Join(dir, ".locks", strings.ReplaceAll(repo, "/", "__")+"__m.gguf.lock"))
	if ok, err := l.TryLock(); !ok || err != nil {
		t.Error(ok, err)
	}
	_ = l.Close()
}

func TestStall(t *testing.T) {
	h := newHub(t)
	data := model(t, 1, 1<<20)
	h.add(repo+"/m.gguf", data)
	h.faults = []fault{{cut: 5000, stall: true}}
	c := quick(h, t.TempDir())
	c.Stall = 100 * time.Millisecond
	r, err := pull(t, c, repo)
	if err != nil {
		t.Fatal(err)
	}
	same(t, r.Path, data)
}

func TestNoServer(t *testing.T) {
	c := Config{Dir: t.TempDir(), Endpoint: "http://127.0.0.1:1", MinWait: time.Millisecond, MaxWait: time.Millisecond, Retries: 2}
	var s said
	c.Say = s.say
	if _, err := pull(t, c, repo); !errors.Is(err, ErrNetwork) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
	if n := strings.Count(s.String(), "attempt"); n != 2 {
		t.Errorf("%d attempts announced: %s", n, &s)
	}
}

func TestAlreadyThereButDamaged(t *testing.T) {
	h := newHub(t)
	data := model(t, 1, 5000)
	h.add(repo+"/m.gguf", data)
	dir := t.TempDir()
	dst := filepath.Join(dir, filepath.FromSlash(repo), "m.gguf")
	for _, bad := range [][]byte{bytes.Repeat([]byte("x"), len(data)), []byte("GGUF")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(dst), 0o755), os.WriteFile(dst, bad, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := pull(t, quick(h, dir), repo); err != nil {
			t.Fatal(err)
		}
		same(t, dst, data)
	}
}

func TestStatusTexts(t *testing.T) {
	c := newClient(&Config{Endpoint: DefaultEndpoint})
	for s := 400; s < 520; s++ {
		err := c.refusal(&http.Response{StatusCode: s, Status: fmt.Sprint(s, " x")}, "it")
		if !strings.Contains(err.Error(), ":") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d: %v", s, err)
		}
	}
}
