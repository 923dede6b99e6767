package router

import "testing"

func TestKindAndLanguage(t *testing.T) {
	for text, want := range map[string][2]string{
		"Write a poem about the sea for me.":                  {"chat", "en"},
		"What is the capital of France?":                      {"question", "en"},
		"def fib(n):\n    return n":                           {"code", "und"},
		"Solve for x: 3x + 5 = 20":                            {"math", "en"},
		"12*(3+4)-7=?":                                        {"math", "und"},
		"Wie ist das Wetter und was mache ich mit dem Regen?": {"question", "de"},
		"Quelle est la capitale de la France ?":               {"question", "fr"},
		"¿Cómo es el tiempo en la capital de España?":         {"question", "es"},
		"请写一首关于大海的诗":                                          {"chat", "zh"},
		"日本の首都はどこですか？":                                        {"question", "ja"},
		"대한민국의 수도는 어디입니까?":                                    {"question", "ko"},
		"Какая столица России?":                               {"question", "ru"},
		"":         {"chat", "und"},
		"\xff\xfe": {"chat", "und"},
	} {
		if got := [2]string{KindOf(text), LanguageOf(text)}; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
