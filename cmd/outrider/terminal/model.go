package terminal

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"
	"google.golang.org/protobuf/proto"

	outriderv1 "github.com/outrider-llm/outrider/proto/outrider/v1"
)

// Model is the whole state of the chat.
type Model struct {
	c      Config
	ctx    context.Context // of all questions
	cancel context.CancelFunc
	input  textarea.Model
	theme  theme
	width  int
	height int

	system                      string
	talk                        []*outriderv1.Message
	answer                      *answer // under way; nil: none
	lastID                      int
	last                        figures // of the last answer
	status                      *outriderv1.StatusResponse
	away                        string // why the edge cannot be asked; empty: it can
	fates, showPending, panelOn bool

	out      []string // for the scrollback
	printing bool     // some is on its way: order matters
	leaving  bool
}

type (
	statusMsg struct {
		st  *outriderv1.StatusResponse
		err error
	}
	pollMsg    struct{}
	printedMsg struct{}
)

// New makes the model of a chat.
func New(ctx context.Context, c Config) *Model {
	m := &Model{c: c, theme: newTheme(), width: 80, height: 24, system: c.System, fates: true, showPending: true, panelOn: true}
	m.c.Request = proto.Clone(c.Request).(*outriderv1.GenerateRequest)
	if m.c.History == nil {
		m.c.History = &History{}
	}
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.input = textarea.New()
	m.input.Prompt, m.input.ShowLineNumbers, m.input.CharLimit = "> ", false, 0
	m.input.Placeholder = "ask something"
	m.resize()
	return m
}

func (m *Model) stop() { m.cancel() }

// Init implements tea.Model.
func (m *Model) Init() tea.Cmd { return tea.Batch(m.input.Focus(), m.poll) }

// poll asks the edge how it is.
func (m *Model) poll() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, pollTimeout)
	defer cancel()
	st, err := m.c.Client.Status(ctx)
	return statusMsg{st, err}
}

// Update implements tea.Model.
func (m *Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	cmd := m.update(msg)
	if m.answer != nil {
		for _, l := range m.answer.overflow(m.width, m.room(), m.showPending) {
			m.out = append(m.out, m.theme.render(l, m.fates))
		}
	}
	return m, tea.Batch(cmd, m.print())
}

func (m *Model) update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(1, msg.Width), max(1, msg.Height)
		m.resize()
		return nil
	case tea.KeyPressMsg:
		return m.key(msg)
	case statusMsg:
		return m.told(msg)
	case pollMsg:
		return m.poll
	case printedMsg:
		m.printing = false
		return nil
	case gotMsg:
		if a := m.answer; a != nil && a.id == msg.id {
			for _, r := range msg.responses {
				a.take(r)
			}
			if msg.end != nil {
				m.done(*msg.end)
				return nil
			}
			return a.next
		}
		return nil
	case doneMsg:
		m.done(msg)
		return nil
	}
	var cmd tea.Cmd
	m.input, cmd = m.input.Update(msg)
	m.resize()
	return cmd
}

// print hands what is finished to the scrollback, one piece after the other.
func (m *Model) print() tea.Cmd {
	if m.printing || (len(m.out) == 0 && !m.leaving) {
		return nil
	}
	m.printing = true
	var steps []tea.Cmd
	if len(m.out) > 0 {
		steps = append(steps, tea.Println(strings.Join(m.out, "\n")))
	}
	m.out = nil
	if m.leaving {
		return tea.Sequence(append(steps, tea.Quit)...)
	}
	return tea.Sequence(append(steps, func() tea.Msg { return printedMsg{} })...)
}

// say puts pieces into the scrollback.
func (m *Model) say(pieces ...piece) {
	for _, l := range wrap(pieces, m.width) {
		m.out = append(m.out, m.theme.render(l, m.fates))
	}
}

// told takes the edge's status.
func (m *Model) told(msg statusMsg) tea.Cmd {
	every := pollEvery
	switch {
	case msg.err != nil && m.away == "":
		m.away = msg.err.Error()
		m.say(piece{Clean(m.away), alarm})
	case msg.err == nil:
		if m.away != "" {
			m.away = ""
			m.say(piece{"the edge is there", faint})
		}
		if n := msg.st.GetNote(); n != "" && n != m.status.GetNote() {
			m.say(piece{Clean(n), alarm})
		}
		m.status = msg.st
	}
	if m.away != "" {
		every = time.Second
	}
	return tea.Tick(every, func(time.Time) tea.Msg { return pollMsg{} })
}

// request is the conversation as it stands.
func (m *Model) request() *outriderv1.GenerateRequest {
	r := proto.Clone(m.c.Request).(*outriderv1.GenerateRequest)
	all := slices.Clone(m.talk)
	if m.system != "" {
		all = append([]*outriderv1.Message{{Role: "system", Content: m.system}}, all...)
	}
	r.Input = &outriderv1.GenerateRequest_Conversation{Conversation: &outriderv1.Conversation{Messages: all}}
	return r
}

// done ends an answer; what there is of it stays in the conversation.
func (m *Model) done(msg doneMsg) {
	a := m.answer
	if a == nil || a.id != msg.id {
		return
	}
	a.cancel()
	m.answer = nil
	a.figures.done(msg.sum)
	m.last = a.figures
	text := strings.TrimSpace(a.text.String())
	if text != "" {
		m.say(a.rest()...)
		m.talk = append(m.talk, &outriderv1.Message{Role: "assistant", Content: a.text.String()})
	}
	switch {
	case msg.err != nil && !a.stopped && !errors.Is(msg.err, context.Canceled):
		m.say(piece{Clean(msg.err.Error()), alarm})
	case a.stopped:
		m.say(piece{fit(append([]string{"stopped"}, a.figures.ending()...), m.width, 2), faint})
	default:
		m.say(piece{fit(append(a.figures.ending(), a.figures.items()...), m.width, 2), faint})
	}
	if line := routed(msg.sum.GetRouting()); line != "" {
		m.say(piece{line, faint})
	}
	m.say(piece{"", plain})
	if text == "" && len(m.talk) > 0 && msg.err != nil { // the question was not answered: it can be edited
		if i := m.lastQuestion(); i == len(m.talk)-1 && m.input.Value() == "" {
			m.input.SetValue(m.talk[i].GetContent())
			m.talk = m.talk[:i]
			m.resize()
		}
	}
}

const maxInputLines = 8

// resize fits the input to the window and to what is in it.
func (m *Model) resize() {
	m.input.SetWidth(m.width)
	inner := max(1, m.width-3)
	lines := 0
	for l := range strings.SplitSeq(m.input.Value(), "\n") {
		lines += len(wrap([]piece{{l, plain}}, inner))
	}
	m.input.SetHeight(min(max(1, lines), maxInputLines, max(1, m.height-3)))
}

// room is how many lines of an answer fit above input and panel.
func (m *Model) room() int {
	return max(1, m.height-m.input.Height()-strings.Count(m.panel(), "\n")-3)
}

// View implements tea.Model.
func (m *Model) View() tea.View {
	if m.leaving {
		return tea.NewView("")
	}
	var b strings.Builder
	if a := m.answer; a != nil {
		lines, _ := a.lines(m.width, m.showPending)
		if n := m.room(); len(lines) > n { // pending text goes on below the screen
			lines = lines[:n]
		}
		for _, l := range lines {
			b.WriteString(m.theme.render(l, m.fates) + "\n")
		}
		b.WriteString("\n")
	}
	b.WriteString(m.input.View() + "\n")
	for l := range strings.SplitSeq(m.panel(), "\n") {
		b.WriteString(m.theme[faint].Render(l) + "\n")
	}
	return tea.NewView(strings.TrimSuffix(b.String(), "\n"))
}
