package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/models/local"
	"github.com/outrider-llm/outrider/models/pull"
)

func newModelsPull() *cobra.Command {
	var sha string
	var asJSON bool
	c := &cobra.Command{
		Use:   "pull OWNER/REPO[:QUANT|:FILE] | URL",
		Short: "Fetch a GGUF file from Hugging Face or any URL",
		Long: `Fetch a GGUF file from Hugging Face or any URL into models.dir (default: outrider/models in the
user's data folder). A repository with several is asked for by quantisation or file name; without
one, Q4_K_M is taken. All parts of a split model are fetched.

An interrupted pull goes on where it was when the same command is run again. A file gets its name
when it is whole and its SHA-256 is right (Hugging Face announces it; for other URLs give
--sha256). HF_TOKEN opens private and gated repositories, HF_ENDPOINT names a mirror.

Afterwards --target, --draft and the configuration take the model by its name.`,
		Example: `  outrider models pull Qwen/Qwen2.5-0.5B-Instruct-GGUF:q8_0
  outrider models pull bartowski/Qwen2.5-7B-Instruct-GGUF
  outrider models pull https://example.org/models/llama-68m-q8_0.gguf --sha256 0a1b...`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one model: OWNER/REPO, OWNER/REPO:QUANT, OWNER/REPO:FILE or a URL (see `%s --help`)", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			return runPull(c, cfg.Models, args[0], sha, asJSON)
		},
	}
	f := c.Flags()
	f.String("dir", "", "folder for models (models.dir)")
	bind(f, map[string]string{"dir": "models.dir"})
	f.StringVar(&sha, "sha256", "", "SHA-256 that the file must have, in hexadecimal")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	return c
}

func runPull(c *cobra.Command, m ModelsConfig, reference, sha string, asJSON bool) error {
	if sha = strings.TrimPrefix(strings.TrimSpace(sha), "sha256:"); sha != "" && (len(sha) != 64 || strings.Trim(strings.ToLower(sha), "0123456789abcdef") != "") {
		return usagef("--sha256 is %q, must be 64 hexadecimal digits", sha)
	}
	dir, err := m.folder()
	if err != nil {
		return err
	}
	show := newProgress(c.ErrOrStderr())
	host := local.Host()
	r, err := pull.Pull(c.Context(), pull.Config{Dir: dir, Endpoint: strings.TrimRight(host.Getenv("HF_ENDPOINT"), "/"), Token: host.Token(), SHA256: sha,
		Progress: show.progress, Say: show.say}, reference)
	show.end()
	if err != nil {
		switch {
		case errors.Is(err, pull.ErrReference):
			return usageError{err}
		case errors.Is(err, context.Canceled):
			fmt.Fprintln(c.ErrOrStderr(), "what has come is kept: the same command goes on from there")
		}
		return err
	}
	return printPulled(c.OutOrStdout(), host, dir, r, asJSON)
}

// pulled is the result of `outrider models pull --json`.
type pulled struct {
	Name    string   `json:"name"`
	Path    string   `json:"path"`
	Files   []string `json:"files"`
	Bytes   int64    `json:"bytes"`
	Fetched int64    `json:"fetched"`
	Checked bool     `json:"checked"`
}

func printPulled(w io.Writer, host local.Environment, dir string, r pull.Result, asJSON bool) error {
	p := pulled{Name: r.Path, Path: r.Path, Files: r.Files, Bytes: r.Bytes, Fetched: r.Fetched, Checked: r.Checked}
	for _, m := range host.Find(dir) {
		if m.Path == r.Path {
			p.Name = m.Name
		}
	}
	if asJSON {
		return json.NewEncoder(w).Encode(p)
	}
	check := "its SHA-256 is right"
	if !p.Checked {
		check = "its SHA-256 is unknown and was not checked"
	}
	parts := ""
	if len(p.Files) > 1 {
		parts = fmt.Sprintf(" in %d parts", len(p.Files))
	}
	fmt.Fprintf(w, "%s: %s%s, %s\n%s\n", p.Name, pull.Bytes(p.Bytes), parts, check, p.Path)
	return nil
}

// pullProgress shows a pull: a bar on a terminal, a line for each tenth elsewhere.
type pullProgress struct {
	w     io.Writer
	tty   bool
	bar   *progressbar.ProgressBar
	of    string // what the bar is about
	tenth int64
}

func newProgress(w io.Writer) *pullProgress {
	f, ok := w.(*os.File)
	return &pullProgress{w: w, tty: ok && isTerminal(f), tenth: -1}
}

func (p *pullProgress) say(format string, a ...any) {
	p.end()
	fmt.Fprintf(p.w, format+"\n", a...)
}

func (p *pullProgress) progress(x pull.Progress) {
	what := x.File
	if x.Parts > 1 {
		what = fmt.Sprintf("%s (%d of %d)", x.File, x.Part, x.Parts)
	}
	if x.Checking {
		what = "checking " + what
	}
	if what != p.of {
		p.end()
		p.of = what
	}
	if !p.tty {
		p.line(what, x)
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(x.Total, progressbar.OptionSetWriter(p.w), progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(true), progressbar.OptionShowTotalBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetWidth(20), progressbar.OptionSetPredictTime(true), progressbar.OptionUseANSICodes(true))
	}
	_ = p.bar.Set64(x.Done) // a terminal that is gone is no reason to stop
}

// line prints a line whenever another tenth, or 100 MB of an unknown size, has come.
func (p *pullProgress) line(what string, x pull.Progress) {
	if x.Total <= 0 {
		if n := x.Done / 100e6; n > p.tenth {
			p.tenth = n
			fmt.Fprintf(p.w, "%s: %s\n", what, pull.Bytes(x.Done))
		}
		return
	}
	if n := 10 * x.Done / x.Total; n > p.tenth && (n > 0 || !x.Checking) {
		p.tenth = n
		fmt.Fprintf(p.w, "%s: %d %% of %s\n", what, 100*x.Done/x.Total, pull.Bytes(x.Total))
	}
}

// end leaves the line of the bar.
func (p *pullProgress) end() {
	if p.bar != nil {
		_ = p.bar.Exit() // as above
		fmt.Fprintln(p.w)
	}
	p.bar, p.of, p.tenth = nil, "", -1
}
