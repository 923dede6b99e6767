package router

import (
	"strings"
	"unicode"
)

// looked is how much of a text is looked at, in bytes.
const looked = 16 << 10

func head(s string) string { return s[:min(len(s), looked)] }

// KindOf tells a prompt's kind by its looks: code, math, question or chat.
func KindOf(text string) string {
	text = head(text)
	var letters, digits, marks, operators int
	for _, r := range text {
		switch {
		case unicode.IsLetter(r):
			letters++
		case unicode.IsDigit(r):
			digits++
		case strings.ContainsRune("{}[]();<>_=#", r):
			marks++
		case strings.ContainsRune("+-*/^%√∑∫≤≥×÷", r):
			operators++
		}
	}
	lower := strings.ToLower(text)
	n := letters + digits + marks + operators
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(lower, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("```", "def ", "func ", "#include", "public static", "select * from", "console.log", "<html") || n > 40 && marks*6 > n:
		return "code"
	case has("\\frac", "\\sqrt", "\\int", "solve for", "equation", "calculate", "derivative", "integral of", "probability that", "how many", "计算", "方程", "求解"),
		n > 8 && (digits+operators)*4 > n:
		return "math"
	case strings.ContainsAny(text, "?？") || has("what ", "why ", "how ", "who ", "when ", "where ", "which "):
		return "question"
	}
	return "chat"
}

// scripts tell a language by its letters, where they do.
var scripts = [...]struct {
	name  string
	table *unicode.RangeTable
}{
	{"ja", unicode.Hiragana}, {"ja", unicode.Katakana}, {"ko", unicode.Hangul}, {"zh", unicode.Han}, {"ru", unicode.Cyrillic}, {"ar", unicode.Arabic},
}

// common are words that betray a language.
var common = [...]struct{ name, words string }{
	{"en", " the a of to and is in that what how you for with are me i this it on tell write give "},
	{"de", " der die das und ist nicht ein eine ich sie wie was mit für den zu auf im ein von "},
	{"fr", " le la les des et est un une je vous que qui dans pour pas ce sur du au quelle "},
	{"es", " el la los las de y es un una que en por para con no cómo qué mi su del "},
}

// LanguageOf tells a text's language by its looks; und when it does not show.
func LanguageOf(text string) string {
	text = head(text)
	counts, letters := [len(scripts)]int{}, 0
	for _, r := range text {
		if !unicode.IsLetter(r) {
			continue
		}
		letters++
		for i, s := range scripts {
			if unicode.Is(s.table, r) {
				counts[i]++
			}
		}
	}
	for i, s := range scripts { // a few kana among many Han are Japanese
		if n := counts[i]; n > 0 && (n*3 > letters || s.name == "ja" && n*12 > letters) {
			return s.name
		}
	}
	best, most := "und", 1
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) })
	for _, l := range common {
		n := 0
		for _, w := range words {
			if strings.Contains(l.words, " "+w+" ") {
				n++
			}
		}
		if n > most || n == most && best == "und" {
			best, most = l.name, n
		}
	}
	return best
}
