package main

import (
	"context"
	"io"
	"reflect"
	"strings"
)

// follow puts each new configuration in force until ctx is done: after SIGHUP, and when the file has
// changed. An error of apply, or of the file, leaves the old one in force.
func (r *serverRun) follow(ctx context.Context, apply func(context.Context, *Config) error) {
	changed := make(chan struct{}, 1)
	ended := make(chan struct{})
	watch := fileWatch{path: r.file, log: r.log, known: r.cfg.from.text}
	go func() {
		defer close(ended)
		watch.run(ctx, changed)
	}()
	defer func() { <-ended }()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangup:
		case <-changed:
		}
		r.reload(ctx, apply)
	}
}

func (r *serverRun) reload(ctx context.Context, apply func(context.Context, *Config) error) {
	next, err := r.load()
	if err == nil {
		_, _, err = newLogger(next.Log, io.Discard)
	}
	if err == nil {
		err = apply(ctx, next)
	}
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		r.log.Error("the new configuration is not taken, the old one stays in force", "error", oneLine(err))
		return
	}
	_ = setLevel(r.level, next.Log.Level) // checked above
	if keys := r.cfg.fixed(next, r.section); len(keys) > 0 {
		r.log.Warn("restart to change these settings", "keys", strings.Join(keys, " "))
	}
	r.log.Info("the configuration was read anew", "file", next.from.file)
}

// fixed lists the settings of a server (section: cloud or edge) that differ and need a restart.
func (c *Config) fixed(next *Config, section string) (keys []string) {
	other := map[string]string{"cloud": "edge.", "edge": "cloud."}[section]
	now := next.settings()
	for i, s := range c.settings() {
		if !s.live() && !strings.HasPrefix(s.key, other) && !reflect.DeepEqual(s.value.Interface(), now[i].value.Interface()) {
			keys = append(keys, s.key)
		}
	}
	return keys
}

// reloads are the commands that SIGHUP does not end: they read their configuration anew.
const reloads = "outrider-reloads"
