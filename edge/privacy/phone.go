package privacy

import (
	"regexp"
	"strings"
	"time"

	"github.com/nyaruka/phonenumbers"
)

func knownRegion(r string) bool { return phonenumbers.GetCountryCodeForRegion(r) != 0 }

// phoneWords stand beside telephone numbers.
func phoneWords() []string {
	return []string{"phone", "tel", "telephone", "call", "call me", "cell", "mobile", "fax", "whatsapp", "sms", "text me", "dial", "ring", "reach me",
		"reach us", "contact", "hotline", "number is", "电话", "手机", "致电", "联系", "拨打", "座机", "传真", "热线", "短信", "号码", "打给", "微信", "来电", "回电"}
}

// phones: numbers with a country code count where a numbering plan has them, numbers without where they
// are written as numbers of a region are, or stand beside a word such as "call". Beside such a word a number
// of a range that the plan has not given out counts, too: plans grow.
func phones(regions []string) []rule {
	gate := anyDigits(7)
	national := func(m string) bool { return validIn(m, regions) }
	dialled := func(m string) bool { return !dated(m) && (validIn(m, regions) || trunked(m, regions)) }
	return []rule{
		{kind: Phone, name: "phone_international", gate: gate, split: international,
			re: regexp.MustCompile(`(?:\+|\b00)[ ]?[1-9](?:[ .\-/]{0,2}\(?\d\)?){6,16}`)},
		{kind: Phone, name: "phone_international", gate: gate, check: possible, beside: phoneWords(),
			re: regexp.MustCompile(`(?:\+|\b00)[ ]?[1-9](?:[ .\-]?\(?\d\)?){6,14}`)},
		{kind: Phone, name: "cn_mobile", gate: gate, loose: false, // the numbering plan of 11 digits is dense: all count
			re: regexp.MustCompile(`1[3-9]\d(?:[ \-]?\d{4}){2}`)},
		{kind: Phone, name: "cn_landline", gate: gate,
			re: regexp.MustCompile(`(?:0(?:10|2\d|[3-9]\d{2})[ \-]|\(0(?:10|2\d|[3-9]\d{2})\)[ \-]?)\d{7,8}`)},
		{kind: Phone, name: "phone_nanp", gate: gate, check: national,
			re: regexp.MustCompile(`\(\d{3}\)[ ]?\d{3}[ .\-]\d{4}|(?:1[ .\-])?\d{3}[.\-]\d{3}[.\-]\d{4}`)},
		{kind: Phone, name: "phone_national", gate: gate, check: dialled, beside: phoneWords(),
			re: regexp.MustCompile(`\(?\d(?:[ .\-]?[()]?\d){6,14}`)},
	}
}

// international cuts the match back, group by group, until a plan has it.
func international(m string) [][2]int {
	for end := len(m); end > 7; {
		if n, err := phonenumbers.Parse(plus(m[:end]), ""); err == nil && phonenumbers.IsValidNumber(n) {
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

// plus writes the prefix 00 as +.
func plus(m string) string {
	if rest, ok := strings.CutPrefix(m, "00"); ok {
		return "+" + rest
	}
	return m
}

// possible says that the number has a country code and a length that the country's plan has.
func possible(m string) bool {
	n, err := phonenumbers.Parse(plus(m), "")
	return err == nil && phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE
}

// trunked says that the number is written in groups, begins with the 0 which a region dials before its area
// codes, and has a length that its plan has.
func trunked(m string, regions []string) bool {
	d := strings.TrimPrefix(m, "(")
	if !strings.HasPrefix(d, "0") || strings.HasPrefix(d, "00") || !strings.ContainsAny(d, " .-)") {
		return false
	}
	for _, r := range regions {
		if phonenumbers.GetNddPrefixForRegion(r, true) != "0" {
			continue
		}
		if n, err := phonenumbers.Parse(m, r); err == nil && phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE {
			return true
		}
	}
	return false
}

// dated says that the digits begin with a date, as lines of a log do.
func dated(m string) bool {
	if len(m) < 10 {
		return false
	}
	for _, layout := range []string{"2006-01-02", "2006.01.02", "02.01.2006", "02-01-2006", "01-02-2006"} {
		if t, err := time.Parse(layout, m[:10]); err == nil && t.Year() >= 1900 && t.Year() < 2100 {
			return true
		}
	}
	return false
}
