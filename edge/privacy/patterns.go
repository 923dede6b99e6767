package privacy

import (
	"regexp"
	"strings"
)

// allRules are the rules of every kind but names.
func allRules(regions []string) []rule {
	rules := []rule{
		{kind: Email, name: "email", gate: holding("@"), check: mailbox, loose: true,
			re: regexp.MustCompile(`[A-Za-z0-9][A-Za-z0-9._%+'\-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}`)},
		{kind: Email, name: "email", gate: holding("[at]", "(at)", " at "), check: nil,
			re: regexp.MustCompile(`(?i)\b[a-z0-9][a-z0-9._+\-]{0,63}\s?(?:\[at\]|\(at\)|\sat)\s?[a-z0-9\-]{2,63}\s?(?:\[dot\]|\(dot\)|\sdot\s)\s?[a-z]{2,10}\b`)},
		{kind: Card, name: "card", gate: anyDigits(13), check: card,
			re: regexp.MustCompile(`\d(?:[ \-]?\d){11,18}`)},
		{kind: IBAN, name: "iban", gate: anyDigits(10), split: ibans,
			re: regexp.MustCompile(`\b[A-Za-z]{2}\d{2}(?:[ \-]?[A-Za-z0-9]{1,4}){3,9}`)},
	}
	rules = append(rules, nationalIDs()...)
	rules = append(rules, secrets()...)
	return append(rules, phones(regions)...)
}

// mailbox refuses what only looks like an address: an image at two densities, a package at a version.
func mailbox(m string) bool {
	local, domain, _ := strings.Cut(m, "@")
	top := strings.ToLower(domain[strings.LastIndexByte(domain, '.')+1:])
	switch top {
	case "png", "jpg", "jpeg", "gif", "svg", "webp", "js", "ts", "css", "go", "py", "html":
		return false
	}
	return !strings.Contains(local, "..") && !strings.HasSuffix(local, ".")
}

// card knows the ranges of the large schemes (ISO/IEC 7812) and the check digit.
func card(m string) bool {
	d := digits(m)
	if !luhn(d) || repeated(d) {
		return false
	}
	p2, p3, p4 := d[0]*10+d[1], d[0]*100+d[1]*10+d[2], d[0]*1000+d[1]*100+d[2]*10+d[3]
	n := len(d)
	switch {
	case d[0] == 4:
		return n == 13 || n == 16 || n == 19
	case p2 >= 51 && p2 <= 55, p4 >= 2221 && p4 <= 2720:
		return n == 16
	case p2 == 34, p2 == 37:
		return n == 15
	case p2 == 62, p2 == 81: // UnionPay
		return n >= 16 && n <= 19
	case p4 == 6011, p2 == 65, p3 >= 644 && p3 <= 649:
		return n >= 16 && n <= 19
	case p4 >= 3528 && p4 <= 3589:
		return n >= 16 && n <= 19
	case p2 == 36, p2 == 38, p2 == 39, p3 >= 300 && p3 <= 305:
		return n >= 14 && n <= 19
	case p2 == 50, p2 >= 56 && p2 <= 58, p2 == 63, p2 == 67: // Maestro
		return n >= 12 && n <= 19
	}
	return false
}

// ibanLength is by country, of the SWIFT IBAN registry.
func ibanLength(country string) int {
	const table = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27" +
		"GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22" +
		"MK19MR27MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20"
	for i := 0; i < len(table); i += 4 {
		if table[i:i+2] == country {
			return int(table[i+2]-'0')*10 + int(table[i+3]-'0')
		}
	}
	return 0
}

// ibans cuts a match where the country's length ends and checks it (ISO 13616).
func ibans(m string) [][2]int {
	n := ibanLength(strings.ToUpper(m[:2]))
	var b strings.Builder
	for i := range len(m) {
		if m[i] == ' ' || m[i] == '-' {
			continue
		}
		b.WriteByte(m[i])
		if b.Len() == n {
			s := strings.ToUpper(b.String())
			if mod97(s[4:]+s[:4]) == 1 {
				return [][2]int{{0, i + 1}}
			}
			return nil
		}
	}
	return nil
}
