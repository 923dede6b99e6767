package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
)

const (
	cut2     = `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`
	tikRest  = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	slashed  = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	upperL   = `((?=[\p{L}])([^a-z]))`
	lowerL   = `((?=[\p{L}])([^A-Z]))`
	upperM   = `((?=[\p{L}\p{M}])([^a-z]))`
	lowerM   = `((?=[\p{L}\p{M}])([^A-Z]))`
	gpt2Expr = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	asciiP   = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~]"
	cjk      = `[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+`
	ds3      = asciiP + `[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	dsLetter = `[A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`
	caseless = `[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+` + cut2 + `?|`
)

func tik(digits string) string {
	return cut2 + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + digits + tikRest
}

func casedExpr(u, l, c, digits string) string {
	return `[^\r\n\p{L}\p{N}]?` + u + `*` + l + `+` + c + `|[^\r\n\p{L}\p{N}]?` + u + `+` + l + `*` + c + `|\p{N}` + digits + slashed
}

// published holds llama.cpp's expressions (src/llama-vocab.cpp of v0.5.0), adapted where its own
// engine reads them differently: white space is Unicode's, letters have case in ASCII only.
func published() map[string][]string {
	return map[string][]string{
		"default":                  {`[\p{P}$+<=>^~|]+`, gpt2Expr, `\p{N}+`, `[0-9][0-9][0-9]`},
		"gpt-2":                    {gpt2Expr},
		"mpt":                      {gpt2Expr},
		"falcon":                   {"[\\p{P}$+<=>^~|`]+", gpt2Expr, `[0-9][0-9][0-9]`},
		"starcoder":                {`\p{N}`, gpt2Expr},
		"refact":                   {`\p{N}`, gpt2Expr},
		"command-r":                {`\p{N}`, gpt2Expr},
		"smollm":                   {`\p{N}`, gpt2Expr},
		"llama-bpe":                {tik("{1,3}")},
		"dbrx":                     {tik("{1,3}")},
		"chatglm-bpe":              {tik("{1,3}")},
		"qwen2":                    {tik("")},
		"qwen35":                   {cut2 + `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
		"jais-2":                   {cut2 + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`},
		"seed-coder":               {cut2 + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`},
		"ufakzeka":                 {`[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + tikRest},
		"exaone-moe":               {cut2 + `|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`},
		"laguna":                   {`[^\n]+|[\n]+`, tik("")},
		"minicpm5":                 {`\p{N}{1,3}`, tik("+")},
		"bailingmoe":               {`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`},
		"tekken":                   {casedExpr(upperL, lowerL, "", "")},
		"gpt-4o":                   {casedExpr(upperL, lowerL, cut2+"?", "{1,3}")},
		"granite-embed-multi-97m":  {casedExpr(upperM, lowerM, cut2+"?", "{1,3}")},
		"youtu":                    {`[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|` + cjk, caseless + `\p{N}` + slashed},
		"deepseek-llm":             {`[\r\n]`, `\s?` + dsLetter, `\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3001-\u3002]+`, `\s+\z`, `(?:(?!\s)[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff])+`, `\p{N}+`},
		"deepseek-coder":           {`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `(?:(?!\s)[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff])+`, `\p{N}`},
		"deepseek-v3":              {`\p{N}{1,3}`, cjk, ds3},
		"spark2_5":                 {`\p{N}{1,3}`, cjk, asciiP + `[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`, `\p{N}`},
		"bloom":                    {` ?[^(\s|.,!?…。，、।۔،)]+`},
		"viking":                   {` ?[^(\s|.,!?…。，、।۔،)]+`, `\p{N}`},
		"chameleon":                {`<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, `\p{N}`, "[\\p{P}!-/:-@\\[-`{-~]", gpt2Expr},
		"superbpe":                 {`\p{N}+`, `(?=([0-9]{3})+(?![0-9]))`},
		"gemma4":                   {`[^\n]+|[\n]+`},
		"granite-embed-multi-311m": {`[^\n]+|[\n]+`},
	}
}

// byExpressions cuts text as llama.cpp describes it, with a backtracking engine.
func byExpressions(t *testing.T, text string, exprs []*regexp2.Regexp) []string {
	pieces := []string{text}
	for _, re := range exprs {
		var next []string
		for _, p := range pieces {
			runes, at := []rune(p), 0
			m, err := re.FindRunesMatch(runes)
			for ; m != nil && err == nil; m, err = re.FindNextMatch(m) {
				next = append(next, string(runes[at:m.Index]), m.String())
				at = m.Index + m.Length
			}
			if err != nil {
				t.Fatal(err)
			}
			next = append(next, string(runes[at:]))
		}
		pieces = slices.DeleteFunc(next, func(p string) bool { return p == "" })
	}
	return pieces
}

func compile(t *testing.T, exprs []string) (out []*regexp2.Regexp) {
	t.Helper()
	for _, x := range exprs {
		re, err := regexp2.Compile(x, regexp2.None)
		if err != nil {
			t.Fatalf("%s: %v", x, err)
		}
		out = append(out, re)
	}
	return out
}

// scraps are what fuzzed texts are put together from.
var scraps = strings.Split("a|b|Z|É|ß|é|e\u0301|\u0301|\u0308|Hello|WORLD|iPhone|McDonald| | |  |   |     |\t|\n|\r\n|\n\n|\r|\u00a0|\u3000|\u2003|"+
	"0|7|42|123|1234|٣|Ⅷ|½|²|'s|'T|'re|'LL|'ve|'d|'M|'ſ|'x|'|\"|.|,|...|?!|!|#|$|%|&|(|)|*|+|-|--|/|//|:|;|<|=|>|@|[|]|^|_|`|{|}|~|~~|"+
	"你|好|世界|のり|カタ|ㄱ|한국|어|ไทย|ភាសា|မြန်မာ|ລາວ|हिन्दी|ন|العربية|؟|،|שלום|привет|Ω|ﬁ|ｱ|Ａ|🥊|👩‍👩‍👧|🏳️‍🌈|🇩🇪|\u200d|\ufe0f|\u200b|\u00ad|\x01|\x1f|"+
	"…|—|“|”|。|，|！|〜|々|〇|€|№|™|∑|ǅ|ª|ʼ|ʰ|<sentinel:12>|IMGIMGABZ|IMGIMGA|\u0378|\U000e0001|\ufffd|\U0002ebf1|\u2ffc|x_1|a1b2", "|")

func scrapText(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(14) {
		s := scraps[r.IntN(len(scraps))]
		if r.IntN(6) == 0 {
			s = strings.Repeat(s, 1+r.IntN(9))
		}
		b.WriteString(s)
	}
	return b.String()
}

func TestPublishedExpressions(t *testing.T) {
	n := 2000
	if testing.Short() {
		n = 300
	}
	texts := make([]string, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range texts {
		texts[i] = scrapText(r)
	}
	for name, exprs := range published() {
		t.Run(name, func(t *testing.T) {
			p, ok := preTokenizers[name]
			if !ok {
				t.Fatal("no such pre-tokenizer")
			}
			re, bad := compile(t, exprs), 0
			for _, text := range texts {
				var got []string
				words(text, p.stages, func(w string) { got = append(got, w) })
				if newer(text) {
					continue
				}
				if want := byExpressions(t, text, re); !slices.Equal(got, want) {
					if bad++; bad <= 5 {
						t.Errorf("%q\n got %q\nwant %q", text, got, want)
					}
				}
			}
			if bad > 0 {
				t.Errorf("%d of %d texts differ", bad, len(texts))
			}
		})
	}
}

// newer says whether a text has characters that Go's Unicode tables lack.
func newer(text string) bool { return strings.ContainsAny(text, "\U0002ebf1\u2ffc") }

// Every pre-tokenizer covers the whole text with words that are not empty.
func TestWordsCoverTheText(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		text := scrapText(r)
		if r.IntN(3) == 0 {
			text = normalize(text[:r.IntN(len(text))] + string([]byte{byte(r.IntN(256)), byte(r.IntN(256))}) + text)
		}
		for name, p := range preTokenizers {
			var b strings.Builder
			words(text, p.stages, func(w string) {
				if w == "" {
					t.Fatalf("%s: %q: empty word", name, text)
				}
				b.WriteString(w)
			})
			if b.String() != text {
				t.Fatalf("%s: %q became %q", name, text, b.String())
			}
		}
	}
}

func TestKnownPreTokenizers(t *testing.T) {
	for _, name := range strings.Fields("llama-bpe deepseek-llm deepseek-coder deepseek-v3 deepseek-r1-qwen starcoder mpt refact command-r gpt-4o gemma4 tekken smollm") {
		if !strings.Contains(fmt.Sprintf(", %s,", knownPre()), ", "+name+",") {
			t.Errorf("%s is unknown", name)
		}
	}
}
