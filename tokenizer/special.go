package tokenizer

import (
	"slices"
	"strings"
)

// endPieces end a turn or a text in the common chat formats; llama.cpp takes them for control tokens
// whatever the file says, and so do we.
var endPieces = []string{"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
	"<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>",
	"<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[", "<|END_OF_TURN_TOKEN|>"}

// otherControl are pieces of fill-in-the-middle formats, which are control tokens, too.
var otherControl = []string{"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<|fim_suffix|>", "<fim-suffix>",
	"<fim_suffix>", "<｜fim▁hole｜>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<|fim_pad|>", "<fim-pad>",
	"<fim_pad>", "[PAD]", "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<reponame>", "<|file_sep|>"}

// correct mends the kinds of tokens that files are known to get wrong, as llama.cpp does when it loads
// them. Unlike it, gpt-oss' <|start|>, <|message|> and <|channel|> stay control tokens: as user-defined
// ones, any text could forge a role.
func (t *Tokenizer) correct() {
	control := make(map[string]bool, len(endPieces)+len(otherControl))
	for _, p := range slices.Concat(endPieces, otherControl) {
		control[p] = true
	}
	call, tool, s := false, false, Token(-1)
	for i, p := range t.pieces {
		if control[p] && t.kinds[i] != kindUnknown {
			t.kinds[i] = kindControl
		}
		call = call || p == "<|call|>" || p == "<|calls|>"
		tool = tool || p == "<|tool_response>"
		if p == "</s>" {
			s = Token(i)
		}
	}
	t.harmony = call
	if tool && s >= 0 { // Gemma 4 has the piece, as plain text
		t.kinds[s] = kindNormal
	}
}

// index builds the lookups that all models share.
func (t *Tokenizer) index() {
	t.id = make(map[string]Token, len(t.pieces))
	t.starts = make(map[string]bool)
	for i, p := range t.pieces {
		if _, dup := t.id[p]; !dup {
			t.id[p] = Token(i)
		}
		if k := t.kinds[i]; (k == kindControl || k == kindUser || k == kindUnknown) && p != "" {
			t.special = append(t.special, Token(i))
			t.starts[p[:min(2, len(p))]] = true
			t.lengths = append(t.lengths, len(p))
		}
	}
	slices.Sort(t.lengths)
	t.lengths = slices.Compact(t.lengths)
	slices.SortStableFunc(t.special, func(a, b Token) int { return len(t.pieces[b]) - len(t.pieces[a]) })
}

// phi3 lets the special tokens of Phi-3 take the white space after them, which its files do not say.
func (t *Tokenizer) phi3(name string) {
	if !strings.Contains(name, "phi-3") && !strings.Contains(name, "phi3") {
		return
	}
	t.strip = make([]stripping, len(t.pieces))
	for _, k := range t.special {
		t.strip[k].right = true
	}
	for _, p := range []string{"<unk>", "<s>", "<|endoftext|>"} {
		if k, ok := t.id[p]; ok {
			t.strip[k].right = false
		}
	}
}

// ends collects the tokens that end generation.
func (t *Tokenizer) ends(named ...Token) {
	add := func(e Token) {
		if e >= 0 && !slices.Contains(t.end, e) {
			t.end = append(t.end, e)
		}
	}
	add(t.eos)
	for _, e := range named {
		add(e)
	}
	for _, p := range endPieces {
		if t.harmony && p == "<|end|>" {
			continue // ends a message there, not the turn
		}
		if e, ok := t.id[p]; ok && t.kinds[e] == kindControl {
			add(e)
		}
	}
	slices.Sort(t.end)
}
