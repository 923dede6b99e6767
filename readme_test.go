package outrider_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	sections = regexp.MustCompile(`(?m)^(#+) `)
	blocks   = regexp.MustCompile(`(?m)^(?: {4}|\t)(\S.*)$`)
	spans    = regexp.MustCompile("`((?:outrider|make|curl) [^`]*)`")
	remarks  = regexp.MustCompile(`\s+#.*`)
)

// shape is what a page has whatever its language: depth of headings, commands, linked pages.
func shape(text string) (out []string) {
	for _, m := range sections.FindAllStringSubmatch(text, -1) {
		out = append(out, "heading "+m[1])
	}
	var commands []string
	for _, m := range blocks.FindAllStringSubmatch(text, -1) {
		for _, program := range []string{"make ", "bin/", "outrider ", "curl ", "git "} {
			if strings.HasPrefix(m[1], program) {
				commands = append(commands, remarks.ReplaceAllString(m[1], ""))
			}
		}
	}
	for _, m := range spans.FindAllStringSubmatch(text, -1) {
		commands = append(commands, m[1])
	}
	for _, m := range links.FindAllStringSubmatch(text, -1) {
		if strings.HasSuffix(m[1], ".md") && !strings.HasPrefix(m[1], "README") { // each names the other
			commands = append(commands, "link "+m[1])
		}
	}
	slices.Sort(commands) // languages order their sentences
	return append(out, slices.Compact(commands)...)
}

// TestReadmesSayTheSame: the Chinese README has the sections, the commands and the linked pages of the English one.
func TestReadmesSayTheSame(t *testing.T) {
	var shapes [2][]string
	for i, name := range []string{"README.md", "README.zh.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if shapes[i] = shape(string(text)); len(shapes[i]) < 30 {
			t.Fatalf("%s: only %q was found", name, shapes[i])
		}
	}
	for i, other := range shapes {
		for _, x := range shapes[1-i] {
			if !slices.Contains(other, x) {
				t.Errorf("%s lacks %s", []string{"README.md", "README.zh.md"}[i], x)
			}
		}
	}
	if n := func(s []string) (n int) {
		for _, x := range s {
			if strings.HasPrefix(x, "heading") {
				n++
			}
		}
		return n
	}; n(shapes[0]) != n(shapes[1]) {
		t.Errorf("%d and %d sections", n(shapes[0]), n(shapes[1]))
	}
}
