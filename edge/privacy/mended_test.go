package privacy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestForms: forms that the rules know in general, each with a text that only looks like it.
func TestForms(t *testing.T) {
	d := detector(t, "Ada Lovelace", "Ada")
	for text, want := range map[string]string{
		"mobile: +44 7700 900123":                    "+44 7700 900123", // a range not given out
		"version +44 7700 900123":                    "",
		"call 07700 900123 tonight":                  "07700 900123",
		"call 0770 tonight, 0123":                    "",
		"2024-06-11 08:15:01 sms failed":             "",
		"11.06.2024 08:15 call failed":               "",
		"invoice numbers: contact desk 044001900111": "",
		"curl -u admin:h7Gz!pQ29x https://a.example": "h7Gz!pQ29x",
		"wget --user=bob:s3cretly https://a.example": "s3cretly",
		"curl -u $USER:$PASS https://a.example":      "",
		"curl -u admin:$PASS https://a.example":      "",
		"docker run -u 1000:1000 image":              "",
		"ls -u http://a.example/x":                   "",
		"口令：Zx71-vN8r（只用一次）":                         "Zx71-vN8r",
		"password: Zx71(vN8r(":                       "Zx71(vN8r",
		"met ada  lovelace, twice":                   "ada  lovelace",
		"met ada lovelaces":                          "ada",
		"met adas":                                   "",
	} {
		var got []string
		for _, f := range d.Detect(text) {
			got = append(got, text[f.Start:f.End])
		}
		if s := strings.Join(got, "|"); s != want {
			t.Errorf("%q: found %q, want %q", text, s, want)
		}
	}
}

// TestManyNames: what a place in a text costs does not grow with the list.
func TestManyNames(t *testing.T) {
	list := make([]string, MaxNames)
	for i := range list {
		list[i] = fmt.Sprintf("Name Number%d", i)
	}
	d := detector(t, list...)
	begun := time.Now()
	found := len(d.Detect(strings.Repeat("name now no Name  Number9999 ", 4000)))
	if took := time.Since(begun); found != 4000 || took > 5*time.Second {
		t.Errorf("%d names found in %v, want 4000 in less than 5s", found, took)
	}
}
