package privacy

import (
	"regexp"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

func knownRegion(r string) bool { return phonenumbers.GetCountryCodeForRegion(r) != 0 }

// phoneWords stand beside telephone numbers.
func phoneWords() []string {
	return []string{"phone", "tel", "telephone", "call", "call me", "cell", "mobile", "fax", "whatsapp", "sms", "text me", "dial", "ring", "reach me",
		"reach us", "contact", "hotline", "number is", "电话", "手机", "致电", "联系", "拨打", "座机", "传真", "热线", "短信", "号码", "打给", "微信", "来电", "回电"}
}

// phones: numbers with a country code count where a numbering plan has them, numbers without where they
// are written as numbers of a region are, or stand beside a word such as "call".
func phones(regions []string) []rule {
	gate := anyDigits(7)
	national := func(m string) bool { return validIn(m, regions) }
	return []rule{
		{kind: Phone, name: "phone_international", gate: gate, split: international,
			re: regexp.MustCompile(`(?:\+|\b00)[ ]?[1-9](?:[ .\-/]{0,2}\(?\d\)?){6,16}`)},
		{kind: Phone, name: "cn_mobile", gate: gate, loose: false, // the numbering plan of 11 digits is dense: all count
			re: regexp.MustCompile(`1[3-9]\d(?:[ \-]?\d{4}){2}`)},
		{kind: Phone, name: "cn_landline", gate: gate,
			re: regexp.MustCompile(`(?:0(?:10|2\d|[3-9]\d{2})[ \-]|\(0(?:10|2\d|[3-9]\d{2})\)[ \-]?)\d{7,8}`)},
		{kind: Phone, name: "phone_nanp", gate: gate, check: national,
			re: regexp.MustCompile(`\(\d{3}\)[ ]?\d{3}[ .\-]\d{4}|(?:1[ .\-])?\d{3}[.\-]\d{3}[.\-]\d{4}`)},
		{kind: Phone, name: "phone_national", gate: gate, check: national, beside: phoneWords(),
			re: regexp.MustCompile(`\(?\d(?:[ .\-]?[()]?\d){6,14}`)},
	}
}

// international cuts the match back, group by group, until a plan has it.
func international(m string) [][2]int {
	for end := len(m); end > 7; {
		text := m[:end]
		if strings.HasPrefix(text, "00") {
			text = "+" + text[2:]
		}
		if n, err := phonenumbers.Parse(text, ""); err == nil && phonenumbers.IsValidNumber(n) {
			return [][2]int{{0, end}}
		}
		cut := strings.LastIndexAny(m[:end], " .-/(")
		if cut < 0 {
			break
		}
		end = len(strings.TrimRight(m[:cut], " .-/("))
	}
	return nil
}

func validIn(m string, regions []string) bool {
	for _, r := range regions {
		if n, err := phonenumbers.Parse(m, r); err == nil && phonenumbers.IsValidNumberForRegion(n, r) {
			return true
		}
	}
	return false
}
