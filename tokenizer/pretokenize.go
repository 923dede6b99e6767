package tokenizer

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// scanner finds the word that begins at byte i of s and returns its end, i when none begins there.
// Each is linear in what it consumes.
type scanner func(s string, i int) int

// preTokenizer is the way of cutting text into words before merging (tokenizer.ggml.pre).
type preTokenizer struct {
	scanners     []scanner // applied in turn, each to what the one before left as pieces
	ignoreMerges bool      // a word that is in the vocabulary is taken whole
}

// preTokenizers holds what llama.cpp defines (llama-vocab.cpp), by name.
var preTokenizers = map[string]preTokenizer{
	"":           {scanners: []scanner{gpt2}},
	"default":    {scanners: []scanner{gpt2}},
	"gpt-2":      {scanners: []scanner{gpt2}},
	"mpt":        {scanners: []scanner{gpt2}},
	"olmo":       {scanners: []scanner{gpt2}},
	"phi-2":      {scanners: []scanner{gpt2}},
	"llama-bpe":  {scanners: []scanner{tiktoken(3)}, ignoreMerges: true},
	"llama3":     {scanners: []scanner{tiktoken(3)}, ignoreMerges: true},
	"llama-v3":   {scanners: []scanner{tiktoken(3)}, ignoreMerges: true},
	"dbrx":       {scanners: []scanner{tiktoken(3)}},
	"smaug-bpe":  {scanners: []scanner{tiktoken(3)}},
	"qwen2":      {scanners: []scanner{tiktoken(1)}},
	"stablelm2":  {scanners: []scanner{tiktoken(1)}},
	"falcon":     {scanners: []scanner{falconPunct, gpt2, threeDigits}},
	"starcoder":  {scanners: []scanner{oneDigit, gpt2}},
	"refact":     {scanners: []scanner{oneDigit, gpt2}},
	"command-r":  {scanners: []scanner{oneDigit, gpt2}},
	"smollm":     {scanners: []scanner{oneDigit, gpt2}},
	"codeshell":  {scanners: []scanner{oneDigit, gpt2}},
	"exaone":     {scanners: []scanner{oneDigit, gpt2}},
	"minerva-7b": {scanners: []scanner{oneDigit, gpt2}},
}

func knownPre() string {
	var names []string
	for n := range preTokenizers {
		if n != "" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// words cuts text by the scanners and calls emit for each word.
func words(text string, scanners []scanner, emit func(string)) {
	if len(scanners) == 0 {
		if text != "" {
			emit(text)
		}
		return
	}
	scan, rest := scanners[0], scanners[1:]
	gap := 0
	for i := 0; i < len(text); {
		end := scan(text, i)
		if end == i {
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
			continue
		}
		words(text[gap:i], rest, emit)
		words(text[i:end], rest, emit)
		gap, i = end, end
	}
	words(text[gap:], rest, emit)
}

func letter(r rune) bool { return unicode.IsLetter(r) }
func number(r rune) bool { return unicode.IsNumber(r) }
func space(r rune) bool  { return unicode.IsSpace(r) }
func other(r rune) bool  { return !space(r) && !letter(r) && !number(r) }
func newline(r rune) bool {
	return r == '\r' || r == '\n'
}

// run returns the end of the longest run of class at i, of at most limit characters (0: any).
func run(s string, i int, class func(rune) bool, limit int) int {
	for n := 0; i < len(s) && (limit == 0 || n < limit); n++ {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !class(r) {
			break
		}
		i += size
	}
	return i
}

// contraction matches 's 't 're 've 'm 'll 'd at i.
func contraction(s string, i int, fold bool) int {
	for _, c := range []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if len(s)-i < len(c) {
			continue
		}
		if w := s[i : i+len(c)]; w == c || (fold && strings.EqualFold(w, c)) {
			return i + len(c)
		}
	}
	if fold && strings.HasPrefix(s[i:], "'\u017f") { // long s folds to s
		return i + len("'\u017f")
	}
	return i
}

// blanks matches \s+(?!\S)|\s+ at i: a run of white space, its last character left to the word
// that follows.
func blanks(s string, i int) int {
	end := run(s, i, space, 0)
	if end == len(s) || end == i {
		return end
	}
	_, size := utf8.DecodeLastRuneInString(s[i:end])
	if end-size > i {
		return end - size
	}
	return end
}

// gpt2 is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
func gpt2(s string, i int) int {
	if end := contraction(s, i, false); end > i {
		return end
	}
	at := i
	if s[i] == ' ' {
		at++
	}
	for _, class := range []func(rune) bool{letter, number, other} {
		if end := run(s, at, class, 0); end > at {
			return end
		}
	}
	return blanks(s, i)
}

// tiktoken is (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|
// \s*[\r\n]+|\s+(?!\S)|\s+
func tiktoken(digits int) scanner {
	return func(s string, i int) int {
		if end := contraction(s, i, true); end > i {
			return end
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		at := i
		if !newline(r) && !letter(r) && !number(r) {
			at += size
		}
		if end := run(s, at, letter, 0); end > at {
			return end
		}
		if end := run(s, i, number, digits); end > i {
			return end
		}
		at = i
		if r == ' ' {
			at++
		}
		if end := run(s, at, other, 0); end > at {
			return run(s, end, newline, 0)
		}
		end := run(s, i, space, 0)
		if nl := strings.LastIndexAny(s[i:end], "\r\n"); nl >= 0 {
			return i + nl + 1
		}
		return blanks(s, i)
	}
}

// falconPunct is [\p{P}\$\+<=>\^~\|`]+
func falconPunct(s string, i int) int {
	return run(s, i, func(r rune) bool { return unicode.IsPunct(r) || strings.ContainsRune("$+<=>^~|`", r) }, 0)
}

// threeDigits is [0-9][0-9][0-9]
func threeDigits(s string, i int) int {
	if end := run(s, i, func(r rune) bool { return r >= '0' && r <= '9' }, 3); end == i+3 {
		return end
	}
	return i
}

// oneDigit is \p{N}
func oneDigit(s string, i int) int { return run(s, i, number, 1) }
