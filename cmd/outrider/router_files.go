package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/outrider-llm/outrider/edge/router"
)

// RouterConfig is what decides in mode auto.
type RouterConfig struct {
	Policy string  `koanf:"policy" doc:"file of routing rules (routing.md), taken again when it changes; empty: the compiled-in policy, which outrider router policy prints" live:"yes"`
	Model  string  `koanf:"model" doc:"learned score, made by outrider router train; empty: none" live:"yes"`
	Share  float64 `koanf:"share" doc:"wanted share of the answers that are to need the cloud, 0 to 1, by the model's score; 0: rules use a score of their own" live:"yes"`
	Record string  `koanf:"record" doc:"file to which outcomes are added for outrider router train, as JSON lines: facts, never text; empty: none" live:"yes"`
}

// load reads the policy and the model.
func (c *RouterConfig) load() (*router.Policy, *router.Model, error) {
	p, err := router.Default()
	if err == nil && c.Policy != "" {
		p, err = readPolicy(c.Policy)
	}
	if err != nil || c.Model == "" {
		return p, nil, err
	}
	text, err := readSmall(c.Model, maxRouterModel)
	if err != nil {
		return nil, nil, usagef("edge.router.model: %w", err)
	}
	m, err := router.ParseModel(c.Model, text)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return p, m, nil
}

// maxRouterModel bounds a model's file in bytes.
const maxRouterModel = 64 << 20

func readPolicy(path string) (*router.Policy, error) {
	text, err := readSmall(path, router.MaxPolicy)
	if err != nil {
		return nil, usagef("edge.router.policy: %w", err)
	}
	p, err := router.Parse(path, text)
	if err != nil {
		return nil, usageError{err}
	}
	return p, nil
}

// readSmall reads a plain file of bounded size.
func readSmall(path string, most int64) ([]byte, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no plain file", path)
	case st.Size() > most:
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read", path, st.Size(), most)
	}
	return os.ReadFile(path)
}

// state tells whether the files have changed.
func (c *RouterConfig) state() string {
	s := ""
	for _, path := range []string{c.Policy, c.Model} {
		if path == "" {
			continue
		}
		st, err := os.Stat(path)
		if err != nil {
			s += path + " " + err.Error() + "\n"
			continue
		}
		s += fmt.Sprintln(path, st.Size(), st.ModTime().UnixNano())
	}
	return s
}

// watchEvery is how often the files are looked at.
const watchEvery = time.Second

// watchRouter puts changed files in force until ctx is done. A file that is not valid leaves what was.
func watchRouter(ctx context.Context, current func() (*router.Router, RouterConfig), log *slog.Logger) {
	_, c := current()
	seen := c.state()
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		r, c := current()
		now := c.state()
		if now == seen {
			continue
		}
		seen = now
		p, m, err := c.load()
		if err != nil {
			log.Error("the changed routing files are not taken, the old ones stay in force", "error", oneLine(err))
			continue
		}
		r.Set(p, m, c.Share)
		log.Info("the routing files have changed and are in force", "policy", c.Policy, "model", c.Model)
	}
}

// recorder adds outcomes to a file.
type recorder struct {
	mu   sync.Mutex
	path string
	log  *slog.Logger
	full bool
}

// maxRecords bounds the file in bytes.
const maxRecords = 64 << 20

// add appends one outcome. What goes wrong costs the record only.
func (r *recorder) add(x router.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.write(x)
	if err != nil && !r.full {
		r.log.Warn("an outcome could not be recorded", "file", r.path, "error", err)
	}
	r.full = err != nil
}

func (r *recorder) write(x router.Record) error {
	line, err := json.Marshal(x)
	if err != nil {
		return err
	}
	if st, err := os.Stat(r.path); err == nil && st.Size() > maxRecords {
		return fmt.Errorf("the file has %d bytes, move it away", st.Size())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}
