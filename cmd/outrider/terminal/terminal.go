// Package terminal is `outrider chat` on a terminal: answers stream token by token, coloured by how
// each came, above a panel with the figures of the cooperation. What is finished goes into the
// terminal's own scrollback, where it can be searched and copied. All of it is a pure model that is fed
// messages; only the commands that it returns do anything.
package terminal

import (
	"context"
	"io"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Client is a running edge.
type Client interface {
	// Ask runs a request and hands out responses as they come. Errors are for people, in one line.
	Ask(ctx context.Context, r *outriderv1.GenerateRequest, emit func(*outriderv1.GenerateResponse)) (*outriderv1.Summary, error)
	Status(ctx context.Context) (*outriderv1.StatusResponse, error)
}

// Config of a chat.
type Config struct {
	Client  Client
	Request *outriderv1.GenerateRequest // sampling, limits and policy of each question
	System  string
	History *History
	Colour  string // auto, always or never
	Input   io.Reader
	Output  io.Writer
}

// Run talks until the user leaves or ctx is done.
func Run(ctx context.Context, c Config) error {
	m := New(ctx, c)
	defer m.stop()
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(c.Input), tea.WithOutput(c.Output)}
	switch c.Colour {
	case "always":
		options = append(options, tea.WithColorProfile(colorprofile.ANSI))
	case "never":
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	_, err := tea.NewProgram(m, options...).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
