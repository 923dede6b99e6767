package terminal

import (
	"errors"
	"strings"

	tea "charm.land/bubbletea/v2"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// key handles a key; what has no meaning of its own edits the input.
func (m *Model) key(k tea.KeyPressMsg) tea.Cmd {
	text := m.input.Value()
	switch k.String() {
	case "enter":
		if before, ok := strings.CutSuffix(text, `\`); ok {
			m.input.SetValue(before + "\n")
			m.resize()
			return nil
		}
		return m.enter(strings.TrimSpace(text))
	case "alt+enter", "ctrl+j", "shift+enter":
		m.input.InsertString("\n")
		m.resize()
		return nil
	case "esc":
		m.halt()
		return nil
	case "ctrl+c":
		switch {
		case m.answer != nil:
			m.halt()
		case text != "":
			m.put("")
		default:
			m.leave()
		}
		return nil
	case "ctrl+d":
		if text == "" {
			m.leave()
			return nil
		}
	case "ctrl+t":
		m.fates = !m.fates
		return nil
	case "tab":
		m.complete(text)
		return nil
	case "up":
		if m.input.Line() == 0 && m.browse(-1, text) {
			return nil
		}
	case "down":
		if m.input.Line() == m.input.LineCount()-1 && m.browse(1, text) {
			return nil
		}
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(k)
	m.resize()
	return cmd
}

func (m *Model) put(text string) {
	m.input.SetValue(text)
	m.resize()
}

// halt stops the answer under way.
func (m *Model) halt() {
	if a := m.answer; a != nil {
		a.stopped = true
		a.cancel()
	}
}

func (m *Model) leave() {
	m.halt()
	m.leaving = true
}

func (m *Model) browse(step int, text string) bool {
	entry, ok := m.c.History.Move(step, text)
	if ok {
		m.put(entry)
	}
	return ok
}

// complete finishes the name of a command as far as it is clear.
func (m *Model) complete(text string) {
	if !strings.HasPrefix(text, "/") || strings.ContainsAny(text, " \n") {
		return
	}
	common := ""
	for _, name := range commandNames() {
		switch {
		case !strings.HasPrefix(name, text):
		case common == "":
			common = name
		default:
			for !strings.HasPrefix(name, common) {
				common = common[:len(common)-1]
			}
		}
	}
	if common != "" {
		m.put(common)
	}
}

// enter sends what was typed.
func (m *Model) enter(text string) tea.Cmd {
	slash := strings.HasPrefix(text, "/")
	switch {
	case text == "":
		return nil
	case m.answer != nil && !slash:
		return nil // it stays in the input until the answer is there
	case m.answer != nil && (strings.HasPrefix(text, "/re") || strings.HasPrefix(text, "/new") || strings.HasPrefix(text, "/edit") || strings.HasPrefix(text, "/load")):
		m.say(piece{"an answer is under way: Esc stops it", alarm})
		return nil
	}
	m.put("")
	if err := m.c.History.Add(text); err != nil {
		m.say(piece{"what you type is not kept: " + Clean(err.Error()), alarm})
		*m.c.History = History{}
	}
	m.say(piece{"> " + Clean(text), question})
	if !slash {
		m.talk = append(m.talk, &outriderv1.Message{Role: "user", Content: text})
		return m.ask()
	}
	say, cmd, err := m.command(text)
	switch {
	case errors.Is(err, errQuit):
		m.leave()
	case err != nil:
		m.say(piece{Clean(err.Error()), alarm})
	case say != "":
		m.say(piece{say, faint})
	}
	m.resize()
	return cmd
}
