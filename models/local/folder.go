package local

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// deepest is how many folders below the root a model may lie.
const deepest = 6

// folder finds the GGUF files below a root; a model's id is its path there.
func folder(source, root string) []Model {
	return walk(source, root, "")
}

// walk finds the GGUF files below root; prefix goes before their ids. Splits become one model.
func walk(source, root, prefix string) []Model {
	if root == "" {
		return nil
	}
	var order []string
	byStem := map[string]*group{}
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error { // what cannot be read is left out
		rel, _ := filepath.Rel(root, p) // p is below root
		switch {
		case err != nil || (d.IsDir() && strings.HasPrefix(d.Name(), ".") && p != root),
			d.IsDir() && strings.Count(rel, string(filepath.Separator)) >= deepest:
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir(), !strings.EqualFold(filepath.Ext(p), ".gguf"), Projector(filepath.ToSlash(p)):
			return nil
		}
		st, err := os.Stat(p) // of what a link points to
		if err != nil || st.IsDir() {
			return nil //nolint:nilerr // a dangling link is left out
		}
		rel = filepath.ToSlash(rel)
		stem := Stem(rel)
		if _, _, _, split := Split(rel); split {
			stem += "\nsplit" // apart from a whole file of that name
		}
		g := byStem[stem]
		if g == nil {
			g = &group{id: prefix + Stem(rel), first: p}
			byStem[stem] = g
			order = append(order, stem)
		}
		g.add(rel, p, st.Size())
		return nil
	})
	var out []Model
	for _, stem := range order {
		out = append(out, byStem[stem].model(source))
	}
	return out
}

// group is a model file, or the parts of one.
type group struct {
	id, first string
	files     []string
	parts     int
	size      int64
}

func (g *group) add(name, file string, size int64) {
	g.files = append(g.files, file) // in order: a walk is
	g.size += size
	g.parts = 1
	if _, part, parts, ok := Split(name); ok {
		g.parts = parts
		if part == 1 {
			g.first = file
		}
	}
}

func (g *group) model(source string) Model {
	m := Model{Source: source, Path: g.first, Files: g.files, Parts: g.parts, Size: g.size, id: g.id, Problem: problem(g.first)}
	if len(g.files) != g.parts {
		m.Problem = fmt.Sprintf("%d of its %d parts are there", len(g.files), g.parts)
	}
	return m
}
