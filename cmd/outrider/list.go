package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/cmd/outrider/terminal"
	"github.com/outrider-llm/outrider/models"
	"github.com/outrider-llm/outrider/models/local"
	"github.com/outrider-llm/outrider/models/pull"
)

func newModelsList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the models on this machine",
		Long: `List the models on this machine: the embedded pair, those that were pulled, and GGUF files that
Ollama, LM Studio, the Hugging Face cache and llama.cpp's cache hold already. Each can be used by
its name where a model is asked for; nothing is copied.`,
		Example: "  outrider models list\n  outrider models list --json | jq -r '.[].path'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			host := local.Host()
			all := listed(host.Find(host.Dir(cfg.Models.Dir)))
			if asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(all)
			}
			printList(c.OutOrStdout(), all)
			return nil
		},
	}
	f := c.Flags()
	f.String("dir", "", "folder of pulled models (models.dir)")
	bind(f, map[string]string{"dir": "models.dir"})
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// listedModel is a model with what its file says of itself.
type listedModel struct {
	local.Model
	Architecture string `json:"architecture,omitempty"`
	Parameters   uint64 `json:"parameters,omitempty"`
	Context      uint64 `json:"context,omitempty"`
	Types        string `json:"types,omitempty"`
}

func listed(found []local.Model) []listedModel {
	var all []listedModel
	for _, name := range []string{models.TargetName, models.DraftName} {
		b, _ := models.Embedded(name)
		all = append(all, listedModel{Model: local.Model{Name: name, Source: "embedded", Path: name, Parts: 1, Size: int64(len(b))}})
	}
	for _, m := range found {
		all = append(all, listedModel{Model: m})
	}
	for i := range all {
		if all[i].Problem == "" {
			all[i].read()
		}
	}
	return all
}

// read fills in what the files say; the parts of a split model hold a share of the tensors each.
func (m *listedModel) read() {
	files := m.Files
	if len(files) == 0 {
		files = []string{m.Path}
	}
	for i, name := range files {
		f, err := openGGUF(name)
		if err != nil {
			m.Problem = oneLine(err)
			return
		}
		x := describe(name, f)
		_ = f.Close() // it was only read
		if i == 0 {
			m.Architecture, m.Context, m.Types = x.Architecture, x.Context, x.Types
		}
		m.Parameters += x.Parameters
	}
}

func printList(w io.Writer, all []listedModel) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSIZE\tPARAMETERS\tTYPE\tCONTEXT\tARCHITECTURE\tSOURCE")
	for _, m := range all {
		if m.Problem != "" {
			fmt.Fprintf(t, "%s\t%s\t-\t-\t-\t%s\t%s\n", m.Name, pull.Bytes(m.Size), m.Problem, m.Source)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", m.Name, pull.Bytes(m.Size), count(m.Parameters), m.Types, m.Context,
			terminal.Clean(m.Architecture), m.Source)
	}
	_ = t.Flush() // errors of w show on the next write
}
