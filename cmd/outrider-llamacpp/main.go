// Command outrider-llamacpp is the model plugin that runs models with llama.cpp. Outrider starts it;
// by hand it only has the commands doctor and bench, which outrider's commands of that name call.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/outrider-llm/outrider/backend"
	"github.com/outrider-llm/outrider/backend/llamacpp"
)

func main() {
	if len(os.Args) < 2 {
		backend.Serve(llamacpp.Load)
		return
	}
	switch os.Args[1] {
	case "doctor":
		os.Exit(doctor(os.Args[2:]))
	case "bench":
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		err := bench(ctx, os.Args[2:], os.Stdout, os.Stderr)
		stop()
		if err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "outrider-llamacpp:", err)
			os.Exit(1)
		}
	default:
		backend.Serve(llamacpp.Load) // it explains itself when no host started it
	}
}

// doctor prints which libraries are found and what they can do.
func doctor(args []string) int {
	f := flag.NewFlagSet("outrider-llamacpp doctor", flag.ContinueOnError)
	lib := f.String("lib", "", "folder of llama.cpp's libraries; default: where they are usually")
	asJSON := f.Bool("json", false, "print JSON")
	if err := f.Parse(args); err != nil {
		return 2
	}
	r := llamacpp.Doctor(*lib)
	if *asJSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return 1
		}
	} else {
		fmt.Fprintln(os.Stdout, "llama.cpp")
		r.Print(os.Stdout)
	}
	if r.Error != "" {
		return 1
	}
	return 0
}
