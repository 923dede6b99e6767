package privacy

import (
	"regexp"
	"strings"
)

// nationalIDs are identity, insurance and tax numbers. Those with a weak check or none count only beside
// a word that says what they are.
func nationalIDs() []rule {
	id := func(name, re string, check func(string) bool, beside ...string) rule {
		return rule{kind: NationalID, name: name, re: regexp.MustCompile(re), check: check, beside: beside, gate: anyDigits(6)}
	}
	return []rule{
		id("cn_resident_id", `[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]`, chinese),
		id("cn_resident_id", `[1-9]\d{5} (?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]) \d{3}[\dXx]`, chinese),
		id("tw_id", `[A-Z][1289]\d{8}`, taiwanese),
		id("hk_id", `[A-Z]{1,2}\d{6}\([\dA]\)`, hongkong),
		id("us_ssn", `\d{3}-\d{2}-\d{4}`, american),
		id("us_ssn", `\d{3} ?\d{2} ?\d{4}`, american, "ssn", "social security"),
		id("uk_nino", `[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]`, british),
		id("uk_nhs", `\d{3}[ \-]?\d{3}[ \-]?\d{4}`, nhs, "nhs"),
		id("fr_nir", `[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}`, french),
		id("de_tax_id", `[1-9]\d ?\d{3} ?\d{3} ?\d{3}`, german, "steuer", "tax id", "idnr", "steuer-id", "steueridentifikationsnummer", "tin", "identifikationsnummer"),
		id("es_dni", `(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z]`, spanish),
		id("it_codice_fiscale", `[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]`, italian),
		id("in_aadhaar", `[2-9]\d{3}([ \-])\d{4}[ \-]\d{4}`, indian, "aadhaar", "aadhar", "uidai", "uid", "id"),
		id("in_aadhaar", `[2-9]\d{11}`, indian, "aadhaar", "aadhar", "uidai"),
		id("br_cpf", `\d{3}\.\d{3}\.\d{3}-\d{2}`, brazilian),
		id("br_cpf", `\d{11}`, brazilian, "cpf"),
		id("kr_rrn", `\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-[1-8]\d{6}`, nil),
		id("jp_my_number", `\d{4}[ \-]?\d{4}[ \-]?\d{4}`, japanese, "my number", "mynumber", "individual number", "マイナンバー", "個人番号"),
		id("ca_sin", `\d{3}[ \-]?\d{3}[ \-]?\d{3}`, canadian, "sin", "social insurance"),
		id("nl_bsn", `\d{9}`, dutch, "bsn", "burgerservicenummer"),
		id("sg_nric", `[STFGM]\d{7}[A-Z]`, singaporean),
		id("ch_ahv", `756\.\d{4}\.\d{4}\.\d{2}`, ean13),
		id("pl_pesel", `\d{11}`, polish, "pesel"),
		id("se_personnummer", `(?:19|20)?\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[\-+]\d{4}`, swedish),
		id("passport", `[A-Z]{1,2}\d{7,8}|[A-Z]\d{8}|\d{9}`, nil, "passport", "passport no", "护照", "护照号", "护照号码", "港澳通行证", "通行证"),
		id("driver_licence", `[A-Z]\d{7,12}|[A-Z]\d{3}-\d{4}-\d{4}`, nil, "driver's license", "drivers license", "driving licence", "driver's licence", "驾驶证", "驾照"),
	}
}

// chinese is GB 11643-1999.
func chinese(m string) bool {
	m = strings.ReplaceAll(m, " ", "")
	d := digits(m[:17])
	return strings.ContainsRune("12345678", rune(m[0])) &&
		date(d[6]*1000+d[7]*100+d[8]*10+d[9], d[10]*10+d[11], d[12]*10+d[13]) &&
		"10X98765432"[weighted(d, 7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)%11] == strings.ToUpper(m)[17]
}

func taiwanese(m string) bool {
	n := strings.IndexByte("ABCDEFGHJKLMNPQRSTUVXYWZIO", m[0]) + 10
	d := digits(m)
	return (n/10+n%10*9+weighted(d, 8, 7, 6, 5, 4, 3, 2, 1, 1))%10 == 0
}

func hongkong(m string) bool {
	letters := strings.TrimRight(m[:2], "0123456789")
	value := func(c byte) int { return int(c-'A') + 10 }
	sum := 36*9 + value(letters[0])*8
	if len(letters) == 2 {
		sum = value(letters[0])*9 + value(letters[1])*8
	}
	rest := m[len(letters):]
	sum += weighted(digits(rest[:6]), 7, 6, 5, 4, 3, 2)
	check := int(rest[7] - '0')
	if rest[7] == 'A' {
		check = 10
	}
	return (sum+check)%11 == 0
}

// american: area, group and serial that the SSA gives.
func american(m string) bool {
	d := digits(m)
	area, group, serial := d[0]*100+d[1]*10+d[2], d[3]*10+d[4], weighted(d[5:], 1, 1, 1, 1)
	return area != 0 && area != 666 && area < 900 && group != 0 && serial != 0 && !repeated(d)
}

func british(m string) bool {
	switch m[:2] {
	case "BG", "GB", "KN", "NK", "NT", "TN", "ZZ":
		return false
	}
	return true
}

func nhs(m string) bool {
	d := digits(m)
	c := 11 - weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)%11
	return c%11 == d[9] && c != 10 && !repeated(d)
}

// french is the key of the NIR: 97 less the number mod 97, Corsica's letters as 19 and 18.
func french(m string) bool {
	s := strings.ReplaceAll(m, " ", "")
	s = strings.Replace(strings.Replace(s, "2A", "19", 1), "2B", "18", 1)
	d := digits(s)
	if len(d) != 15 {
		return false
	}
	n := 0
	for _, v := range d[:13] {
		n = (n*10 + v) % 97
	}
	return 97-n == d[13]*10+d[14]
}

func german(m string) bool { d := digits(m); return len(d) == 11 && mod1110(d) }

func spanish(m string) bool {
	n := 0
	for _, v := range digits(strings.NewReplacer("X", "0", "Y", "1", "Z", "2").Replace(m[:8])) {
		n = n*10 + v
	}
	return "TRWAGMYFPDXBNJZSQVHLCKE"[n%23] == m[len(m)-1]
}

func italian(m string) bool {
	odd := [26]int{1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23}
	sum := 0
	for i := range 15 {
		v := int(m[i] - 'A')
		if digit(m[i]) {
			v = int(m[i] - '0')
		}
		if i%2 == 0 {
			v = odd[v]
		}
		sum += v
	}
	return byte('A'+sum%26) == m[15]
}

func indian(m string) bool { d := digits(m); return len(d) == 12 && verhoeff(d) }

func brazilian(m string) bool {
	d := digits(m)
	if repeated(d) {
		return false
	}
	rest := func(n int) int { return n * 10 % 11 % 10 }
	return rest(weighted(d, 10, 9, 8, 7, 6, 5, 4, 3, 2)) == d[9] && rest(weighted(d, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2)) == d[10]
}

func japanese(m string) bool {
	d := digits(m)
	c := 11 - weighted(d, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)%11
	if c >= 10 {
		c = 0
	}
	return len(d) == 12 && c == d[11]
}

func canadian(m string) bool {
	d := digits(m)
	return luhn(d) && d[0] != 8 && !repeated(d)
}

func dutch(m string) bool {
	d := digits(m)
	return (weighted(d, 9, 8, 7, 6, 5, 4, 3, 2)-d[8])%11 == 0 && !repeated(d)
}

func singaporean(m string) bool {
	d := digits(m)
	sum := weighted(d, 2, 7, 6, 5, 4, 3, 2)
	letters := map[byte]string{'S': "JZIHGFEDCBA", 'T': "JZIHGFEDCBA", 'F': "XWUTRQPNMLK", 'G': "XWUTRQPNMLK", 'M': "KLJNPQRTUWX"}[m[0]]
	switch m[0] {
	case 'T', 'G':
		sum += 4
	case 'M':
		sum += 3
		return letters[10-sum%11] == m[8]
	}
	return letters[sum%11] == m[8]
}

func ean13(m string) bool {
	d := digits(m)
	return (10-weighted(d, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3)%10)%10 == d[12]
}

func polish(m string) bool {
	d := digits(m)
	return (10-weighted(d, 1, 3, 7, 9, 1, 3, 7, 9, 1, 3)%10)%10 == d[10] && !repeated(d)
}

func swedish(m string) bool { d := digits(m); return luhn(d[len(d)-10:]) }
