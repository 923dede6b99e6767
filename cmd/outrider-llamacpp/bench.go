package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/outrider-llm/outrider/backend/llamacpp"
	"github.com/outrider-llm/outrider/backend/reference"
	"github.com/outrider-llm/outrider/bench/engines"
	"github.com/outrider-llm/outrider/bench/workload"
	"github.com/outrider-llm/outrider/models"
)

// list is a flag that can be repeated.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

// bench compares the reference engine with llama.cpp in one process.
func bench(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f := flag.NewFlagSet("outrider bench engines", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "Compare the reference engine with llama.cpp: greedy tokens, and time per pass, taking turns.\n\nUsage:\n  outrider bench engines [flags]\n\nFlags:\n")
		f.PrintDefaults()
	}
	var names list
	f.Var(&names, "model", "GGUF `file` or embedded model, can be repeated (default: the demo pair)")
	types := f.String("types", "f32,f16,file", "of the weights: f32 and f16 are copies, file is as it is")
	prompts := f.String("prompts", "", "`file` of prompts, JSON lines or text; default: beginnings of stories")
	n := f.Int("n", 100, "number of prompts")
	tokens := f.Int("max-tokens", 64, "tokens per prompt")
	threads := f.Int("threads", 1, "of both engines")
	rounds := f.Int("rounds", 40, "passes of each kind to time; 0: none")
	kv := f.String("kv", "f32", "type of llama.cpp's KV cache; the reference engine's is f32")
	lib := f.String("lib", "", "folder of llama.cpp's libraries; default: where they are usually")
	asJSON := f.Bool("json", false, "print the results as JSON on the last line")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || *n < 1 || *tokens < 1 || *threads < 1 || *rounds < 0 {
		return errors.New("there is a stray argument, or a number that is too small")
	}
	if len(names) == 0 {
		names = list{models.TargetName, models.DraftName}
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	c := engines.Config{First: reference.Load, Other: llamacpp.Load, Models: names, Types: strings.Split(*types, ","), Tokens: *tokens, Rounds: *rounds,
		FirstOptions: map[string]string{"threads": fmt.Sprint(*threads)}, Prompts: engines.Stories(*n),
		OtherOptions: map[string]string{"threads": fmt.Sprint(*threads), "kv_type_k": *kv, "kv_type_v": *kv, "gpu_layers": "0"},
		Say:          func(format string, a ...any) { fmt.Fprintf(stderr, format+"\n", a...) }}
	if *lib != "" {
		c.OtherOptions["lib"] = *lib
	}
	if *rounds > 0 {
		c.Rows = []int{1, 4, 8, 16}
	}
	if *prompts != "" {
		var err error
		if c.Prompts, err = workload.Read(*prompts, *n); err != nil {
			return err
		}
	}
	results, err := engines.Run(ctx, c)
	if err != nil {
		return err
	}
	if err := engines.Print(stdout, results); err != nil || !*asJSON {
		return err
	}
	return json.NewEncoder(stdout).Encode(results)
}
