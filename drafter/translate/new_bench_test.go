package translate

import "testing"

func BenchmarkNew(b *testing.B) {
	all := fixtures(b)
	draft, target := all["gpt-2"], all["falcon"]
	if draft == nil || target == nil {
		b.Skip("no published vocabularies here")
	}
	for b.Loop() {
		newWords(draft, target)
	}
}
