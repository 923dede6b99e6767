package simulation

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

var whichMutants = flag.String("sim.mutants", "", "try the mutants whose name matches; empty: a sample")

// mutant is a deliberate mistake in the core: in file, old becomes new.
type mutant struct {
	name, file, old, new string
}

var mutants = []mutant{
	// The cloud's nodes.
	{"proposals of an older epoch are not ignored", "verifier.go", "if m.Epoch < v.nodes.epoch {", "if false {"},
	{"an epoch from the future is tolerated", "verifier.go", "if m.Epoch > len(v.log) {", "if false {"},
	{"a new epoch keeps the old nodes pending", "nodes.go", "*s = nodeSet{window: s.window, chains: s.chains, epoch: epoch}", "*s = nodeSet{window: s.window, chains: s.chains, epoch: epoch, live: s.live}"},
	{"a gap in the numbers is tolerated", "nodes.go", "if m.First > s.count() {", "if m.First > s.count() {\n\t\tm.First = s.count()\n\t}\n\tif false {"},
	{"repeated nodes are taken as new ones", "nodes.go", "if number < s.count() {", "if number < 0 {"},
	{"a repeated node may differ", "nodes.go", "o.token != t || o.parent != parent", "o.parent != parent && o.token != t"},
	{"a parent may be the node itself", "nodes.go", "if parent < -1 || parent >= number {", "if parent >= number {\n\t\t\tparent = -1\n\t\t}\n\t\tif parent < -1 {"},
	{"a parent may lie beyond the window", "nodes.go", "if parent < number-s.window-1 {", "if parent < number-4*s.window-1 {"},
	{"the cloud's window is not checked", "nodes.go", "if len(s.live) >= s.window {", "if false {"},
	{"a node at a decided position is not compared", "nodes.go", "case log[n.pos] == n.token:", "case true:"},
	{"a child of a dead node lives", "nodes.go", "case dead:\n\t\t\tn.state = dead", "case dead:"},
	{"a child of a pending node hangs to the log", "nodes.go", "n.up = p\n", "\n"},
	{"what contradicts the log stays pending", "nodes.go", "n.state, n.up = dead, nil\n", "keep = append(keep, n)\n"},
	{"the rest of a branch is lost on a hit", "nodes.go", "n.up = nil\n\t\t\tkeep = append(keep, n)", "n.state, n.up = dead, nil"},
	{"late nodes count as stale", "nodes.go", "late++", "stale++"},
	{"the most probable nodes do not come first", "nodes.go", "return cmp.Compare(b.value, a.value)", "return cmp.Compare(0, 0)"},
	{"nodes behind the end are scored", "nodes.go", "if end == 0 || n.pos < end {", "if true {"},

	// The cloud's judgement.
	{"proposals are accepted without comparing", "judge.go", "if s.Tokens[row+1] == t {", "if true {"},
	{"the first branch is taken", "judge.go", "if s.Tokens[i] == t {", "if true {"},
	{"a tree is scored as a star", "judge.go", "parent = n.up.row", "parent = 0"},
	{"a tree is scored as a chain", "judge.go", "tree = tree || parent != n.row-1", "tree = false"},
	{"the bonus is dropped after accepted tokens", "judge.go", "v.commit(&c, choices[row], fate)\n", "if child < 0 && row > 0 {\n\t\t\tbreak\n\t\t}\n\t\tv.commit(&c, choices[row], fate)\n"},
	{"the bonus is committed twice", "judge.go", "v.save(now-v.offered, s, v.acc", "if fate := c.Fates[len(c.Fates)-1]; fate == Bonus && v.finish == NotFinished {\n\t\tv.commit(&c, Choice{Token: c.Tokens[len(c.Tokens)-1]}, Bonus)\n\t}\n\tv.save(now-v.offered, s, v.acc"},
	{"a correction is called a bonus", "judge.go", "fate = Correction", "fate = Bonus"},
	{"scored nodes cost no credit", "judge.go", "-float64(scored))", "+0*float64(scored))"},
	{"accepted nodes earn no credit", "judge.go", "1.02*float64(accepted)", "0*float64(accepted)"},
	{"the model's rows are counted one too few", "judge.go", "v.held = s.Start + len(rows)\n", "v.held = s.Start + len(rows) - 1\n"},
	{"the model's rows are counted one too many", "judge.go", "v.held = s.Start + len(rows)\n", "v.held = s.Start + len(rows) + 1\n"},
	{"the model is not told which rows of a tree it keeps", "judge.go", "v.keep = rows", "v.keep = nil"},
	{"a discarded segment forgets which rows to keep", "judge.go", "v.keep = s.Keep\n", ""},
	{"rows lost in a step are thought held", "judge.go", "if lost {", "if false {"},
	{"evicted rows are thought held", "judge.go", "func (v *Verifier) Lost() { v.held, v.keep = 0, nil }", "func (v *Verifier) Lost() {}"},
	{"a session stays busy after a failed step", "judge.go", "func (v *Verifier) Discard(s Segment, lost bool) {\n\tv.busy, v.own = false, nil\n", "func (v *Verifier) Discard(s Segment, lost bool) {\n"},

	// The cloud's session.
	{"run-ahead although nodes wait", "verifier.go", "nodes = nodes[:min(len(nodes), limit, room-1)]", "nodes = nodes[:min(0, limit)]"},
	{"scoring credit is not observed", "verifier.go", "nodes = nodes[:min(len(nodes), limit, room-1)]", "nodes = nodes[:min(len(nodes), max(limit, 99), room-1)]"},
	{"a step may commit beyond the credit", "verifier.go", "nodes = nodes[:min(len(nodes), limit, room-1)]", "nodes = nodes[:min(len(nodes), limit)]"},
	{"credit is not observed", "verifier.go", "if room < 1 {", "room = max(room, 1)\n\tif false {"},
	{"an acknowledgement of what is not there is tolerated", "verifier.go", "if n < 0 || n > len(v.log) {", "if n < 0 {"},
	{"acknowledgements are not heard", "verifier.go", "v.acked = max(v.acked, n)", ""},
	{"cancel is ignored", "verifier.go", "v.finish = why", "_ = why"},
	{"deferred run-ahead never comes", "hold.go", "return v.wait + v.afford(", "return now + 1 + v.afford("},
	{"a scoring pass is held for ever", "hold.go", "return min(g.since+v.afford(gatherMost), g.last+", "return now + 1 + min(0, g.last+"},
	{"patience is not paid for", "hold.go", "v.spare -= float64(v.offered - v.wait)", "v.spare -= 0"},
	{"a resumed session skips a token", "verifier.go", "for i := len(v.log); i < len(old.log)", "for i := len(v.log) + 1; i < len(old.log)"},
	{"a resumed log longer than the old one counts as held", "verifier.go", "v.held = min(old.held, same, len(v.log)-1)", "v.held = len(v.log) - 1"},
	{"what was committed meanwhile is not replayed", "verifier.go", "Tokens: slices.Clone(v.log[from:]), Fates: slices.Clone(v.fates[from-v.c.PromptLength:])}", "Tokens: nil, Fates: nil}"},
	{"the end token does not end", "ender.go", "if slices.Contains(n.e.EndTokens, t) {", "if slices.Contains(n.e.EndTokens, -t-1) {"},
	{"the length limit is one off", "ender.go", "length >= n.e.MaxLength", "length > n.e.MaxLength"},
	{"a stop string across tokens is missed", "ender.go", "n.keep = max(n.keep, len(s)-1)", "n.keep = min(0, len(s))"},

	// The cloud's own proposals.
	{"own proposals exceed the credits", "verifier.go", "min(limit, room-1)-len(nodes)", "99"},
	{"own proposals cost no scoring credit", "judge.go", "scored += s.Own\n", ""},
	{"own proposals hang to the log, not to the path", "own.go", "p: p, up: tip, value: value", "p: p, up: nil, value: value"},
	{"own proposals count as the edge's", "judge.go", "case s.own(child):\n\t\t\town++\n\t\t\tfate = RunAhead", "case s.own(child):\n\t\t\town++\n\t\t\tfate = Accepted"},
	{"a miss after own proposals counts as a correction", "judge.go", "case len(s.Tokens) == 1+s.Own || s.own(row):", "case len(s.Tokens) == 1:"},
	{"own proposals take more rows than granted", "judge.go", "max(0, n-len(nodes))", "n"},
	{"own proposals take scarce rows", "schedule.go", "addOwn(bids, grants, left-l.Positions/2,", "addOwn(bids, grants, left,"},
	{"own proposals go behind the end", "own.go", "end == 0 || len(v.log)+len(path) < end", "end == 0 || len(v.log) < end"},

	// The scheduler.
	{"the step's rows are not bounded", "schedule.go", "nodes[:min(len(nodes), left)]", "nodes"},
	{"the step's sequences are not bounded", "schedule.go", "roots[:min(len(roots), l.Sequences)]", "roots"},
	{"prompt chunks take what they like", "schedule.go", "left = min(left, l.Prefill)", ""},
	{"drafts are scored only when certain", "schedule.go", "if n.value*cost < tokens*float64(c.Position) {", "if n.value < 1 {"},
	{"sessions behind their pace wait like others", "schedule.go", "x, y := &bids[a.bid], &bids[b.bid]", "x, y := Bid{Since: bids[a.bid].Since}, Bid{Since: bids[b.bid].Since}"},
	{"prompts wait for all the rest", "schedule.go", "Sequences: max(1, l.Sequences-min(len(prompts), max(1, l.Sequences/8, l.Sequences-behind))),", "Sequences: l.Sequences,"},

	// The edge.
	{"the epoch never changes", "tree.go", "if p.root.number < 0 {", "if false {"},
	{"the epoch changes at every commit", "tree.go", "if p.root.number < 0 {", "if true {"},
	{"unsent drafts are forgotten at a commit", "tree.go", "p.unsent = slices.DeleteFunc(p.unsent, func(n *node) bool { return n.dead || n == p.root })", "p.unsent = slices.DeleteFunc(p.unsent, func(n *node) bool { return true })"},
	{"dead drafts are sent", "tree.go", "return n.dead || n == p.root })", "return n == p.root })"},
	{"drafts that agree are dropped at a commit", "tree.go", "keep = append(keep, n)\n\t\t\tcontinue", "if n.number >= 0 {\n\t\t\t\tkeep = append(keep, n)\n\t\t\t}\n\t\t\tcontinue"},
	{"the edge trusts its own first choice", "tree.go", "if k.token == t {", "if k == r.kids[0] {"},
	{"a withheld draft cannot be had again", "tree.go", "if p.root.unpromised &&", "if false &&"},
	{"the edge's window is not observed", "proposer.go", "p.inFlight()+len(p.unsent) < p.c.Window", "p.inFlight() < p.c.Window"},
	{"a smaller window of the cloud is not observed", "proposer.go", "fit := min(len(p.unsent), p.c.Window-p.inFlight())", "fit := len(p.unsent)"},
	{"nothing is sent again after a resume", "proposer.go", "p.unsent = slices.Clone(p.live)\n", ""},
	{"nodes keep their numbers over a resume", "proposer.go", "n.number = -1\n", "_ = n\n"},
	{"a late draft goes to the new root", "proposer.go", "if n.dead || p.finish != NotFinished {\n\t\treturn\n\t}", "if p.finish != NotFinished {\n\t\treturn\n\t}\n\tif n.dead {\n\t\tn = p.root\n\t}"},
	{"parents are numbered as if there were no branches", "proposer.go", "parent := n.parent.number\n", "parent := p.sent - 1\n"},
	{"nothing is flushed when drafting rests", "proposer.go", "!timed && p.drafting != nil && p.perToken < p.c.Gap", "!timed && p.drafting == nil"},
	{"what piles up is waited for without end", "upflow.go", "return min(max(flushed+u.gap, u.hold), flushed+upflowMost)", "return max(flushed+u.gap, u.hold)"},
	{"a failed draft is never asked for again", "proposer.go", "if p.drafting != nil && p.drafting.id == id {\n\t\tp.drafting = nil", "if p.drafting != nil && p.drafting.id == id {\n\t\tp.drafting.expanded, p.drafting = true, nil"},
	{"a replayed commit is appended", "proposer.go", "for len(tokens) > 0 && c.Start < len(p.log) {", "for false {"},
	{"a replayed commit undoes the end", "proposer.go", "if c.Finish != NotFinished {", "if true {"},
	{"the edge never acknowledges", "proposer.go", ">= AckEvery", ">= AckEvery*1000"},
	{"the edge drafts beyond the window of branches", "proposer.go", "c.Second != c.Token && p.room() {", "c.Second != c.Token {"},
}

// TestMutants shows that each mutant is caught by a named check within a few hundred seeds. Every
// day has its own small sample; OUTRIDER_VERIFY=1 or -sim.mutants . tries all.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("builds programs")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command: ", err)
	}
	step, start := len(mutants)/2, time.Now().YearDay()%(len(mutants)/2)
	which, err := regexp.Compile(*whichMutants)
	if err != nil {
		t.Fatal(err)
	}
	if *whichMutants != "" || os.Getenv("OUTRIDER_VERIFY") != "" {
		step, start = 1, 0
	}
	for i, m := range mutants {
		source, err := os.ReadFile(filepath.Join("..", m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), m.old); n != 1 {
			t.Errorf("%s: %q occurs %d times in %s, want once: bring the mutant up to date", m.name, m.old, n, m.file)
			continue
		}
		if i%step != start%step || !which.MatchString(m.name) {
			continue
		}
		caught, err := m.run(t.Context(), t.TempDir(), strings.Replace(string(source), m.old, m.new, 1))
		switch {
		case err != nil:
			t.Errorf("%s: %v", m.name, err)
		case caught == "":
			t.Errorf("%s: SURVIVES", m.name)
		default:
			t.Logf("%-55s %s", m.name, caught)
		}
	}
	t.Logf("%d mutants in all", len(mutants))
}

var violationLine = regexp.MustCompile(`(seed \d+: )?(I\d+|counts|panic) at \S+ in`)

// run builds the simulation around the changed source and returns which check caught it.
func (m mutant) run(ctx context.Context, dir, source string) (caught string, err error) {
	original, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		return "", err
	}
	changed, overlay, program := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutant.test")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, []byte(source), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", program, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("does not build: %w\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, program, "-test.run", "^(TestSeeds|TestManySessions)$", "-sim.seeds", "2000", "-test.timeout", "60s").CombinedOutput()
	if err == nil {
		return "", nil
	}
	if hit := violationLine.FindStringSubmatch(string(out)); hit != nil {
		return fmt.Sprintf("%-6s %s", hit[2], strings.TrimSuffix(hit[1], ": ")), nil
	}
	return "", fmt.Errorf("fails without a named check:\n%.2000s", out)
}
