// Command vuln runs the pinned govulncheck over the module in the folder above, where the database of
// vulnerabilities can be reached; where it cannot, it says so and succeeds.
//
//	go run -C tools ./vuln [PACKAGES]     GOVULNDB=file:///folder names another database
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	database = "https://vuln.go.dev"
	patience = 5 * time.Second // for the database's first answer
	limit    = 3 * time.Minute // for the whole check
)

func main() { os.Exit(run(os.Args[1:], os.Stdout)) }

func run(args []string, w io.Writer) int {
	db := database
	if v := os.Getenv("GOVULNDB"); v != "" {
		db = v
	}
	if err := reach(db); err != nil {
		fmt.Fprintf(w, "govulncheck: NOT CHECKED: the database %s cannot be reached from here (%v)\n", db, err)
		return 0
	}
	if len(args) == 0 {
		args = []string{"./..."}
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	// What is imported counts, called or not: the search for calls takes minutes.
	cmd := exec.CommandContext(ctx, "go", append([]string{"tool", "-modfile=tools/go.mod", "govulncheck", "-scan", "package", "-db", db}, args...)...)
	cmd.Dir, cmd.WaitDelay = "..", time.Second
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		fmt.Fprintln(w, "govulncheck: no known vulnerability in what is imported")
	case ctx.Err() != nil:
		fmt.Fprintf(w, "govulncheck: NOT CHECKED: it took longer than %s\n", limit)
	default:
		fmt.Fprintf(w, "%s\ngovulncheck: %v\n", strings.TrimSpace(string(out)), err)
		return 1
	}
	return 0
}

// reach asks for the database's index.
func reach(db string) error {
	dir, ok := strings.CutPrefix(db, "file://")
	if ok {
		_, err := os.Stat(dir + "/index/db.json")
		return err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, fmt.Errorf("no answer within %s", patience))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, db+"/index/db.json", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return errors.Unwrap(err) // without the address, which was told
	}
	defer func() { _ = resp.Body.Close() }() // it is not read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return nil
}
