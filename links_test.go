package outrider_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode"
)

var (
	fences   = regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`")
	links    = regexp.MustCompile(`\]\(<?([^)\s>]+)>?\)`)
	headings = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)
	ids      = regexp.MustCompile(`<a id="([^"]+)">`)
	schemes  = regexp.MustCompile(`^[a-z]+:`)
)

// pages are the Markdown files that readers meet.
func pages(t *testing.T, tree fs.FS) []string {
	t.Helper()
	files, err := fs.Glob(tree, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	err = fs.WalkDir(tree, "docs", func(name string, _ fs.DirEntry, err error) error {
		if path.Ext(name) == ".md" {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// broken returns the relative links of a page that lead nowhere: no such file, or no such heading in it.
func broken(tree fs.FS, page string) ([]string, error) {
	text, err := fs.ReadFile(tree, page)
	if err != nil {
		return nil, err
	}
	var bad []string
	for _, m := range links.FindAllStringSubmatch(fences.ReplaceAllString(string(text), ""), -1) {
		if schemes.MatchString(m[1]) {
			continue
		}
		name, heading, _ := strings.Cut(m[1], "#")
		to := page
		if name != "" {
			to = path.Join(path.Dir(page), name)
		}
		if _, err := fs.Stat(tree, to); err != nil {
			bad = append(bad, m[1])
			continue
		}
		if heading == "" || path.Ext(to) != ".md" {
			continue
		}
		text, err := fs.ReadFile(tree, to)
		if err != nil {
			return nil, err
		}
		if !anchors(string(text))[heading] {
			bad = append(bad, m[1])
		}
	}
	return bad, nil
}

// anchors are the names by which GitHub shows a page's headings, and those that the page itself gives.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range headings.FindAllStringSubmatch(text, -1) {
		found[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	for _, m := range ids.FindAllStringSubmatch(text, -1) {
		found[m[1]] = true
	}
	return found
}

func TestLinksLeadSomewhere(t *testing.T) {
	tree := os.DirFS(".")
	for _, page := range pages(t, tree) {
		bad, err := broken(tree, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range bad {
			t.Errorf("%s: the link %s leads nowhere", page, link)
		}
	}
}

// Every page is reached from both READMEs, every decision from their list, and no two decisions share a number.
func TestPagesAreListed(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	numbers := map[string]string{}
	decisions := read("docs/adr/README.md")
	for _, page := range pages(t, os.DirFS(".")) {
		switch path.Dir(page) {
		case "docs":
			for _, list := range []string{"README.md", "README.zh.md"} {
				if !strings.Contains(read(list), "]("+page+")") {
					t.Errorf("%s links no %s", list, page)
				}
			}
		case "docs/adr":
			name := path.Base(page)
			if name == "README.md" {
				continue
			}
			if !strings.Contains(decisions, "]("+name+")") {
				t.Errorf("docs/adr/README.md lists no %s", name)
			}
			if other := numbers[name[:4]]; other != "" {
				t.Errorf("%s and %s share a number: take the next free one", other, name)
			}
			numbers[name[:4]] = name
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	tree := fstest.MapFS{
		"docs/b.md": {Data: []byte("# How it is, 100 %\n<a id=\"here\"></a>\n## `a.b` 中文\n")},
		"a.md": {Data: []byte("[1](docs/b.md) [2](docs/b.md#here) [3](docs/b.md#how-it-is-100-) [4](docs/b.md#ab-中文) [5](https://x.org/n)\n" +
			"[no](docs/c.md) ![no](d.png) [no](docs/b.md#there) [no](#none) [no](../a.md)\n```\n[6](x)\n```\n`[7](y)`\n")},
	}
	bad, err := broken(tree, "a.md")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(bad, " "), "docs/c.md d.png docs/b.md#there #none ../a.md"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
}
