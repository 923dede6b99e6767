package tokenizer

import (
	"slices"
	"strings"
)

// preTokenizer is the way of cutting text into words before merging (tokenizer.ggml.pre).
type preTokenizer struct {
	stages       []stage // applied in turn, each to what the one before left as pieces
	ignoreMerges bool    // a word that is in the vocabulary is taken whole
	addBOS       bool    // unless the file says otherwise
	wholeLines   bool    // a run of line ends that is in the vocabulary is taken whole
	raw          bool    // words are merged as they are, with ▁ for the space and <0xXX> for unknown bytes
}

// preTokenizers holds what llama.cpp defines (llm_tokenizer_bpe in llama-vocab.cpp, v0.5.0), by name.
// The expressions stand at the scanners.
var preTokenizers = func() map[string]preTokenizer {
	all := make(map[string]preTokenizer)
	add := func(names string, p preTokenizer) {
		for _, n := range strings.Fields(names) {
			all[n] = p
		}
	}
	of := func(s ...stage) preTokenizer { return preTokenizer{stages: s} }

	fallback := of(each(falconPunct(false)), each(gpt2), each(numbers(0)), each(threeDigits))
	all[""] = fallback
	add("default", fallback)
	add("gpt-2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code gigachat a.x-4.0 mellum modern-bert roberta-bpe exaone4 mpt olmo jais trillion granite-docling",
		of(each(gpt2)))
	add("falcon", of(each(falconPunct(true)), each(gpt2), each(threeDigits)))
	add("starcoder refact command-r smollm codeshell exaone minerva-7b mellum2", of(each(numbers(1)), each(gpt2)))

	llama3 := preTokenizer{stages: []stage{each(tiktoken{digits: 3}.scan)}, ignoreMerges: true, addBOS: true}
	add("llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano", llama3)
	add("dbrx smaug-bpe glm4 chatglm-bpe", of(each(tiktoken{digits: 3}.scan)))
	add("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 bailingmoe bailingmoe2 llada-moe", of(each(tiktoken{digits: 1}.scan)))
	add("qwen35", of(each(tiktoken{digits: 1, marks: true}.scan)))
	add("jais-2", of(jais))
	add("seed-coder", of(each(tiktoken{digits: 1, noNewlines: true}.scan)))
	add("ufakzeka", of(each(tiktoken{digits: 1, noContractions: true}.scan)))
	add("exaone-moe", of(each(tiktoken{digits: 1, phrases: true}.scan)))
	add("laguna", of(each(lines), each(tiktoken{digits: 1}.scan)))
	add("minicpm5", preTokenizer{stages: []stage{each(numbers(3)), each(tiktoken{}.scan)}, ignoreMerges: true})
	add("kimi-k2", of(each(kimi)))

	add("tekken", preTokenizer{stages: []stage{each(cased{digits: 1}.scan)}, ignoreMerges: true, addBOS: true})
	add("gpt-4o llama4 kanana2 talkie minimax-m2", of(each(cased{digits: 3, contractions: true}.scan)))
	add("granite-embed-multi-97m", preTokenizer{stages: []stage{each(cased{digits: 3, contractions: true, marks: true}.scan)}, ignoreMerges: true})
	add("youtu", preTokenizer{stages: []stage{each(youtuScripts), each(markedWords(1))}, ignoreMerges: true})
	add("tiny_aya cohere2moe", of(threesWithText, each(markedWords(3))))

	add("deepseek-llm", of(each(oneNewline), each(spaced(deepseekLetter)), each(spaced(deepseekPunct)), trailingSpace, each(eastAsian), each(numbers(0))))
	add("deepseek-coder", of(each(oneNewline), each(spaced(letter)), each(spaced(punct)), each(eastAsian), each(numbers(1))))
	add("deepseek-v3 hunyuan-dense joyai-llm hy_v4", of(each(numbers(3)), each(hanOrKana), each(deepseek3)))
	add("spark2_5", of(each(numbers(3)), each(hanOrKana), each(spark), each(numbers(1))))
	add("afmoe", of(threesWithText, each(asianScripts), each(deepseek3)))

	add("poro-chat bloom gpt3-finnish", of(each(unpunctuated)))
	add("viking", of(each(unpunctuated), each(numbers(1))))
	add("chameleon", preTokenizer{stages: []stage{each(sentinel), each(imageToken), each(indent), each(numbers(1)), each(onePunct), each(gpt2)}, addBOS: true})
	add("superbpe", of(each(numbers(0)), thousands))
	add("gemma4 granite-embed-multi-311m", preTokenizer{stages: []stage{each(lines)}, raw: true, wholeLines: true, addBOS: true})
	add("sarvam-moe", preTokenizer{stages: []stage{each(lines)}, raw: true})
	return all
}()

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

// stage cuts a piece of text into smaller ones that cover it, in order, none of them empty. It takes
// time linear in the piece.
type stage func(s string, emit func(string))

// scanner finds the word that begins at byte i of s, never empty, and returns its end; i when none
// begins there. It may look beyond the end, if only a bounded number of characters or as often as
// the words that it finds are long.
type scanner func(s string, i int) int

// each is the stage that emits the words of a scanner and what lies between them.
func each(scan scanner) stage {
	return func(s string, emit func(string)) {
		gap := 0
		for i := 0; i < len(s); {
			end := scan(s, i)
			if end <= i {
				_, n := decode(s[i:])
				i += n
				continue
			}
			if gap < i {
				emit(s[gap:i])
			}
			emit(s[i:end])
			gap, i = end, end
		}
		if gap < len(s) {
			emit(s[gap:])
		}
	}
}

// words cuts text by the stages and calls emit for each word.
func words(text string, stages []stage, emit func(string)) {
	if text == "" {
		return
	}
	if len(stages) == 0 {
		emit(text)
		return
	}
	stages[0](text, func(piece string) { words(piece, stages[1:], emit) })
}
