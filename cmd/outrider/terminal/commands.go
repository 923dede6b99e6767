package terminal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	tea "charm.land/bubbletea/v2"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Help lists the commands.
const Help = `/help                  this text
/new                   begin a new conversation
/regenerate            answer the last question again, with another seed
/edit                  take the last question back to change it
/system [TEXT]         set or show the system message
/temperature [NUMBER]  0: always the most probable token
/model [NAME]          which target answers; without a name: those that there are
/mode [MODE]           where answers are written; without a mode: those that there are
/fallback [fail|wait|draft]  with no cloud in reach
/fates                 colour tokens by how they came, or not (also Ctrl-T)
/pending               show what the draft expects next, or not
/stats                 show the panel's figures, or not
/save FILE, /load FILE the conversation, as JSON
/quit                  leave (also Ctrl-D)

Enter sends, Alt-Enter or Ctrl-J or a \ at the end begins a new line, ↑ and ↓ go through what was typed,
Tab completes commands, Esc or Ctrl-C stops an answer.`

var errQuit = errors.New("quit")

// commandNames are completed by Tab.
func commandNames() []string {
	return []string{"/edit", "/fallback", "/fates", "/help", "/load", "/mode", "/model", "/new", "/pending", "/quit", "/regenerate",
		"/save", "/stats", "/system", "/temperature"}
}

// command runs a line that begins with a slash and returns what to say.
func (m *Model) command(text string) (string, tea.Cmd, error) {
	name, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimSpace(rest)
	switch name {
	case "/quit", "/exit":
		return "", nil, errQuit
	case "/help":
		return Help, nil, nil
	case "/new", "/reset":
		m.talk, m.last = nil, figures{}
		return "a new conversation", nil, nil
	case "/regenerate", "/retry":
		return m.regenerate()
	case "/edit":
		return m.edit()
	case "/fates":
		m.fates = !m.fates
		return onOff("colours of fates", m.fates), nil, nil
	case "/pending":
		m.showPending = !m.showPending
		return onOff("pending text", m.showPending), nil, nil
	case "/stats":
		m.panelOn = !m.panelOn
		return onOff("figures", m.panelOn), nil, nil
	}
	out, err := m.setting(name, rest)
	return out, nil, err
}

func onOff(what string, on bool) string {
	if on {
		return what + ": shown"
	}
	return what + ": hidden"
}

// setting runs the commands that set or show something.
func (m *Model) setting(name, v string) (string, error) {
	r := m.c.Request
	switch name {
	case "/system":
		if v != "" {
			m.system = v
		}
		return "system message: " + orNone(m.system), nil
	case "/temperature":
		if v != "" {
			t, err := strconv.ParseFloat(v, 32)
			if err != nil || !(t >= 0 && t <= 100) {
				return "", fmt.Errorf("/temperature %s: must be a number from 0 to 100", v)
			}
			r.Sampling.Temperature = float32(t)
		}
		return fmt.Sprintf("temperature: %g", r.GetSampling().GetTemperature()), nil
	case "/model":
		return m.model(v), nil
	case "/mode":
		return m.mode(v)
	case "/fallback":
		f, ok := outriderv1.Fallback_value["FALLBACK_"+strings.ToUpper(v)]
		if v == "" || !ok {
			return "", errors.New("/fallback must be fail, wait or draft")
		}
		r.Fallback = outriderv1.Fallback(f)
		return "with no cloud in reach: " + v, nil
	case "/save":
		return m.save(v)
	case "/load":
		return m.load(v)
	}
	return "", fmt.Errorf("there is no command %s: /help lists them", name)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func (m *Model) model(name string) string {
	if name != "" {
		m.c.Request.Model = name
	}
	var names []string
	for _, t := range m.status.GetTargets() {
		names = append(names, Clean(t.GetName()))
	}
	out := "model: " + orNone(m.c.Request.GetModel())
	if m.c.Request.GetModel() == "" {
		out = "model: the edge's default"
	}
	if name != "" && m.status != nil && !slices.Contains(names, name) {
		out += ", which the cloud does not list"
	}
	return out + " (there are: " + orNone(strings.Join(names, ", ")) + ")"
}

// lastQuestion is the index of the last message of the user, -1 for none.
func (m *Model) lastQuestion() int {
	for i := len(m.talk) - 1; i >= 0; i-- {
		if m.talk[i].GetRole() == "user" {
			return i
		}
	}
	return -1
}

func (m *Model) regenerate() (string, tea.Cmd, error) {
	i := m.lastQuestion()
	if i < 0 {
		return "", nil, errors.New("there is nothing to answer again")
	}
	m.talk = m.talk[:i+1]
	m.c.Request.Sampling.Seed++
	return "", m.ask(), nil
}

func (m *Model) edit() (string, tea.Cmd, error) {
	i := m.lastQuestion()
	if i < 0 {
		return "", nil, errors.New("there is no question to edit")
	}
	m.input.SetValue(m.talk[i].GetContent())
	m.talk = m.talk[:i]
	return "", nil, nil
}

// saved is a conversation in a file.
type saved struct {
	System   string         `json:"system,omitempty"`
	Messages []savedMessage `json:"messages"`
}

type savedMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

const maxSaved = 16 << 20

func (m *Model) save(path string) (string, error) {
	if path == "" {
		return "", errors.New("/save needs the name of a file")
	}
	s := saved{System: m.system, Messages: []savedMessage{}}
	for _, x := range m.talk {
		s.Messages = append(s.Messages, savedMessage{x.GetRole(), x.GetContent()})
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("%s is there already: choose another name", path)
	}
	if err != nil {
		return "", err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d messages saved to %s", len(s.Messages), path), nil
}

func (m *Model) load(path string) (string, error) {
	if path == "" {
		return "", errors.New("/load needs the name of a file")
	}
	if i, err := os.Stat(path); err != nil || i.Size() > maxSaved || !i.Mode().IsRegular() {
		return "", fmt.Errorf("%s cannot be loaded: it is no file of a saved conversation", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return "", fmt.Errorf("%s holds no saved conversation: %w", path, err)
	}
	talk := make([]*outriderv1.Message, 0, len(s.Messages))
	for i, x := range s.Messages {
		if (x.Role != "user" && x.Role != "assistant") || x.Content == "" {
			return "", fmt.Errorf("%s: message %d must have the role user or assistant, and content", path, i+1)
		}
		talk = append(talk, &outriderv1.Message{Role: x.Role, Content: x.Content})
	}
	m.talk, m.system = talk, s.System
	for _, x := range talk {
		m.say(piece{Clean(x.GetContent()) + "\n", map[bool]kind{true: question, false: plain}[x.GetRole() == "user"]})
	}
	return fmt.Sprintf("%d messages loaded from %s", len(talk), path), nil
}
