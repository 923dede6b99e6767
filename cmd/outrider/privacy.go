package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/outrider-llm/outrider/edge"
	"github.com/outrider-llm/outrider/edge/privacy"
)

// PrivacyConfig says what becomes of personal data.
type PrivacyConfig struct {
	Action  string   `koanf:"action" doc:"what becomes of requests with personal data (privacy.md): off, placeholders (they go up instead, the data is put back in the answer) or on_device (the request stays here); a request may ask for more, not for less" live:"yes"`
	Kinds   []string `koanf:"kinds" doc:"what counts: email, phone, card, iban, national_id, api_key, name; empty: all" live:"yes"`
	Names   string   `koanf:"names" doc:"file of names that are personal data, one a line; empty: none" live:"yes"`
	Regions []string `koanf:"regions" doc:"countries of telephone numbers that are written without a country code, such as US; empty: US, GB, CN" live:"yes"`
}

// maxNamesFile bounds the file of names in bytes.
const maxNamesFile = 4 << 20

// load gives the policy and what finds the data.
func (c *PrivacyConfig) load() (edge.Privacy, *privacy.Detector, error) {
	action, err := edge.ParsePrivacy(c.Action)
	if err != nil {
		return 0, nil, usagef("edge.privacy.action: %w", err)
	}
	pc := privacy.Config{Regions: c.Regions}
	for _, k := range c.Kinds {
		pc.Kinds = append(pc.Kinds, privacy.Kind(k))
	}
	if c.Names != "" {
		text, err := readSmall(c.Names, maxNamesFile)
		if err != nil {
			return 0, nil, usagef("edge.privacy.names: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				pc.Names = append(pc.Names, line)
			}
		}
	}
	d, err := privacy.New(pc)
	if err != nil {
		return 0, nil, usagef("edge.%w", err)
	}
	return action, d, nil
}

// maxPrivacyText bounds what outrider privacy reads, in bytes.
const maxPrivacyText = 16 << 20

func newPrivacy() *cobra.Command {
	var c PrivacyConfig
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "privacy [FILE]",
		Short: "Show what personal data a text holds, and what would go up instead",
		Long: `Find personal data in a file or in what is piped in, as an edge does whose edge.privacy is on: e-mail
addresses, telephone numbers, payment cards, IBANs, national ids, keys and passwords, and names from a list.
It prints the text with placeholders, and what was found. Nothing leaves this machine.`,
		Example: `  echo "Call Ann on +44 20 7946 0958, ann@example.org" | outrider privacy
  outrider privacy --names staff.txt letter.txt
  outrider privacy --json letter.txt`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, d, err := c.load()
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return usagef("%w", err)
				}
				defer func() { _ = f.Close() }()
				in = f
			}
			text, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), maxPrivacyText+1))
			if err != nil {
				return err
			}
			if len(text) > maxPrivacyText {
				return usagef("the text has more than %d MiB: split it", maxPrivacyText>>20)
			}
			return showPrivacy(cmd.OutOrStdout(), d, string(text), asJSON)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&c.Kinds, "kinds", nil, "what counts; default: all")
	f.StringVar(&c.Names, "names", "", "file of names that are personal data, one a line")
	f.StringSliceVar(&c.Regions, "regions", nil, "countries of telephone numbers without a country code; default: US,GB,CN")
	f.BoolVar(&asJSON, "json", false, "print findings as JSON: kind, rule, start, end, text, placeholder")
	return cmd
}

func showPrivacy(w io.Writer, d *privacy.Detector, text string, asJSON bool) error {
	findings := d.Detect(text)
	red := d.Redactor(text)
	safe := red.Redact(text)
	if asJSON {
		type finding struct {
			Kind        privacy.Kind `json:"kind"`
			Rule        string       `json:"rule"`
			Start       int          `json:"start"`
			End         int          `json:"end"`
			Text        string       `json:"text"`
			Placeholder string       `json:"placeholder"`
		}
		out := []finding{}
		for _, f := range findings {
			value := text[f.Start:f.End]
			out = append(out, finding{f.Kind, f.Rule, f.Start, f.End, value, red.Placeholder(value)})
		}
		return json.NewEncoder(w).Encode(map[string]any{"text": safe, "findings": out})
	}
	_, _ = io.WriteString(w, safe)
	if !strings.HasSuffix(safe, "\n") {
		_, _ = fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", foundLine(red.Found()))
	return err
}

// foundLine counts findings in words.
func foundLine(found map[privacy.Kind]int) string {
	var parts []string
	for _, k := range privacy.Kinds() {
		if n := found[k]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
		}
	}
	if len(parts) == 0 {
		return "no personal data was found"
	}
	slices.Sort(parts)
	return "found: " + strings.Join(parts, ", ")
}
