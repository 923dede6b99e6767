package privacy

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func detector(t testing.TB, names ...string) *Detector {
	d, err := New(Config{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRedactAndRestore(t *testing.T) {
	d := detector(t, "Ada Lovelace", "王小明")
	text := "Write to ada@example.org or 王小明 (13812345678), cc ada@example.org; Ada  Lovelace knows."
	r := d.Redactor(text)
	red := r.Redact(text)
	want := "Write to [EMAIL_1] or [NAME_1] ([PHONE_1]), cc [EMAIL_1]; [NAME_2] knows."
	if red != want {
		t.Fatalf("got  %s\nwant %s", red, want)
	}
	if got := r.Restorer().Whole(red); got != text {
		t.Errorf("restored: %s", got)
	}
	// However an answer is cut into pieces, it reads the same.
	answer := "Dear [NAME_1], [email_1] [EMAIL_2] [not one] [[PHONE_1]] [EMAIL"
	want = "Dear 王小明, ada@example.org [EMAIL_2] [not one] [13812345678] [EMAIL"
	for size := 1; size < len(answer); size++ {
		rest, got := r.Restorer(), ""
		for i := 0; i < len(answer); i += size {
			got += rest.Feed(answer[i:min(len(answer), i+size)])
		}
		if got += rest.Flush(); got != want {
			t.Errorf("pieces of %d: %s", size, got)
		}
	}
}

func TestPlaceholdersOfTheRequestStay(t *testing.T) {
	d := detector(t)
	text := "Fill in [EMAIL_1] for bob@example.org"
	r := d.Redactor(text)
	if red := r.Redact(text); red != "Fill in [EMAIL_1] for [EMAIL_2]" {
		t.Error(red)
	} else if got := r.Restorer().Whole(red); got != text {
		t.Error(got)
	}
}

func TestConversationKeepsItsPlaceholders(t *testing.T) {
	d := detector(t)
	turns := []string{"I am ann@example.org", "Hello ann@example.org", "and bob@example.org?"}
	for n := 1; n <= len(turns); n++ {
		r := d.Redactor(turns[:n]...)
		for i, s := range turns[:n] {
			want := []string{"I am [EMAIL_1]", "Hello [EMAIL_1]", "and [EMAIL_2]?"}[i]
			if got := r.Redact(s); got != want {
				t.Errorf("%d turns, turn %d: %s", n, i, got)
			}
		}
	}
}

func TestRedactJSON(t *testing.T) {
	d := detector(t, "王小明")
	in := `{"to":"ann@example.org", "n":1e3, "who":"\u738b\u5c0f\u660e \"x\"", "k":["a\\", "13812345678"]}`
	want := `{"to":"[EMAIL_1]", "n":1e3, "who":"[NAME_1] \"x\"", "k":["a\\", "[PHONE_1]"]}`
	r := d.Redactor(in)
	if got := string(r.RedactJSON([]byte(in))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestUnprintableValuesStaySealed(t *testing.T) {
	d := detector(t)
	key := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("MIIEvQIBADANBg", 4) + "\n-----END PRIVATE KEY-----"
	r := d.Redactor(key)
	red := r.Redact("use " + key)
	if red != "use [API_KEY_1]" {
		t.Fatal(red)
	}
	if got := r.Restorer().Whole(`{"key":"[API_KEY_1]"}`); got != `{"key":"[API_KEY_1]"}` {
		t.Error(got)
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{{Kinds: []Kind{"shoe"}}, {Regions: []string{"XX"}}, {Names: []string{"a"}}, {Names: make([]string, MaxNames+1)}} {
		if _, err := New(c); err == nil {
			t.Errorf("%v was taken", c.Kinds)
		}
	}
}

func FuzzDetect(f *testing.F) {
	d := detector(f, "Ada Lovelace", "王小明")
	for _, s := range []string{"a@b.co", "１３８１２３４５６７８", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "sk-" + strings.Repeat("a1", 20), "+1 (650) 253-0000", "\xff@a.b", "11010519491231002X"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at := 0
		for _, x := range d.Detect(s) {
			if x.Start < at || x.End <= x.Start || x.End > len(s) {
				t.Fatalf("%+v in %q", x, s)
			}
			at = x.End
		}
		if !utf8.ValidString(s) {
			return
		}
		r := d.Redactor(s)
		red := r.Redact(s)
		for v := range r.value {
			if strings.Contains(strings.ToUpper(s), v) {
				t.Fatalf("%q has %s of its own", s, v)
			}
		}
		if len(r.of) == len(r.value) && r.Restorer().Whole(red) != s {
			t.Fatalf("%q became %q", s, r.Restorer().Whole(red))
		}
	})
}

func BenchmarkDetect(b *testing.B) {
	d := detector(b)
	text := strings.Repeat("In 2024 the team of 12 met at 10:30 and spent 1,250.50 on parts; see https://example.org/a?b=1. 我们在2024年见面。", 100)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		d.Detect(text)
	}
}
