package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/cmd/outrider/terminal"
	"github.com/outrider-llm/outrider/gguf"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/models/local"
	"github.com/outrider-llm/outrider/tokenizer"
)

func newModels() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "models [FILE|FOLDER|NAME ...]",
		Short: "Describe GGUF files and say which of them can draft for which",
		Long: `Describe the embedded models and the given GGUF files (or all in a folder). Models with the
same vocabulary fingerprint can work together: the smaller drafts, the larger judges. A model that
"outrider models list" shows can also be named.`,
		Example: `  outrider models
  outrider models ~/models llama-68m-q8_0.gguf
  outrider models pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0
  outrider models list
  outrider models pair TARGET DRAFT`,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			names := []string{models.TargetName, models.DraftName}
			for _, a := range args {
				found, err := ggufFiles(cfg.Models, a)
				if err != nil {
					return err
				}
				names = append(names, found...)
			}
			var infos []modelInfo
			var failed error
			for _, n := range names {
				info, err := describeModel(n)
				if err != nil {
					fmt.Fprintf(c.ErrOrStderr(), "outrider: %s\n", oneLine(err))
					failed = fmt.Errorf("%s could not be read", n)
					continue
				}
				infos = append(infos, info)
			}
			if asJSON {
				return firstOf(json.NewEncoder(c.OutOrStdout()).Encode(infos), failed)
			}
			printModels(c.OutOrStdout(), infos)
			return failed
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.AddCommand(newModelsPull(), newModelsList(), newModelsPair())
	return c
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ggufFiles returns the file itself, the .gguf files of a folder, or the file of a known model.
func ggufFiles(c ModelsConfig, path string) ([]string, error) {
	st, err := os.Stat(path)
	if err != nil {
		m, known := c.find(path)
		switch {
		case known == nil:
			return []string{m.Path}, nil
		case !errors.Is(known, local.ErrUnknown):
			return nil, known
		}
		return nil, fmt.Errorf("no file or folder %s, and no model of that name (see `outrider models list`)", path)
	}
	if !st.IsDir() {
		return []string{path}, nil
	}
	found, err := filepath.Glob(filepath.Join(path, "*.gguf"))
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("no .gguf file in folder %s", path)
	}
	return found, err
}

type modelInfo struct {
	Model        string `json:"model"`
	Name         string `json:"name"`
	Architecture string `json:"architecture"`
	Parameters   uint64 `json:"parameters"`
	Context      uint64 `json:"context"`
	Types        string `json:"types"`
	Tokens       int    `json:"vocabulary_size"`
	Vocabulary   string `json:"vocabulary"`
	Note         string `json:"note,omitempty"` // why there is no fingerprint
}

func describeModel(name string) (modelInfo, error) {
	f, err := openGGUF(name)
	if err != nil {
		return modelInfo{}, err
	}
	defer func() { _ = f.Close() }() // it was only read
	m := describe(name, f)
	t, err := tokenizer.FromGGUF(f)
	if err != nil {
		m.Note = oneLine(err)
		return m, nil
	}
	m.Tokens, m.Vocabulary = t.Size(), t.Fingerprint()
	return m, nil
}

// describe reads all but the vocabulary.
func describe(name string, f *gguf.File) modelInfo {
	m := modelInfo{Model: name}
	m.Name, _ = f.String("general.name")
	m.Architecture, _ = f.String("general.architecture")
	m.Context, _ = f.Uint(m.Architecture + ".context_length")
	var most uint64
	bytes := map[string]uint64{}
	for _, t := range f.Tensors() {
		m.Parameters += t.Elements()
		kind := t.Type.String()
		if bytes[kind] += t.Size(); bytes[kind] > most {
			most, m.Types = bytes[kind], kind
		}
	}
	return m
}

func printModels(w io.Writer, infos []modelInfo) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "MODEL\tPARAMETERS\tTYPE\tCONTEXT\tVOCABULARY\tARCHITECTURE")
	for _, m := range infos {
		vocabulary := m.Note
		if vocabulary == "" {
			vocabulary = fmt.Sprintf("%d %s", m.Tokens, m.Vocabulary[:min(12, len(m.Vocabulary))])
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", m.Model, count(m.Parameters), m.Types, m.Context, vocabulary,
			terminal.Clean(m.Architecture)) // what a file says must not steer the terminal
	}
	_ = t.Flush() // errors of w show on the next write
	for _, line := range pairs(infos) {
		fmt.Fprintln(w, line)
	}
}

// pairs says who can draft for whom.
func pairs(infos []modelInfo) []string {
	var out []string
	for _, target := range infos {
		var drafts []string
		for _, d := range infos {
			if d.Vocabulary != "" && d.Vocabulary == target.Vocabulary && d.Parameters*2 <= target.Parameters {
				drafts = append(drafts, d.Model)
			}
		}
		if len(drafts) > 0 {
			out = append(out, fmt.Sprintf("%s can be drafted for by %s", target.Model, strings.Join(drafts, ", ")))
		}
	}
	return out
}

// count writes a number as people say it.
func count(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f B", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	}
	return fmt.Sprintf("%.0f k", float64(n)/1e3)
}
