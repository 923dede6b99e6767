package privacy

// digits gives the digits of s as numbers.
func digits(s string) []int {
	out := make([]int, 0, len(s))
	for i := range len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			out = append(out, int(s[i]-'0'))
		}
	}
	return out
}

// luhn is the check of ISO/IEC 7812-1, annex B.
func luhn(d []int) bool {
	sum := 0
	for i := range d {
		v := d[len(d)-1-i]
		if i%2 == 1 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}

// mod97 is the remainder of ISO/IEC 7064 MOD 97-10 over digits and letters (A = 10); -1 for other characters.
func mod97(s string) int {
	n := 0
	for _, c := range s {
		switch {
		case c >= '0' && c <= '9':
			n = (n*10 + int(c-'0')) % 97
		case c >= 'A' && c <= 'Z':
			n = (n*100 + int(c-'A') + 10) % 97
		default:
			return -1
		}
	}
	return n
}

// mod1110 is the check of ISO/IEC 7064 MOD 11,10.
func mod1110(d []int) bool {
	p := 10
	for _, v := range d[:len(d)-1] {
		s := (v + p) % 10
		if s == 0 {
			s = 10
		}
		p = s * 2 % 11
	}
	return (11-p)%10 == d[len(d)-1]
}

// weighted is the sum of digits times weights.
func weighted(d []int, weights ...int) int {
	sum := 0
	for i, w := range weights {
		sum += d[i] * w
	}
	return sum
}

// verhoeff is the check of J. Verhoeff (1969), by the dihedral group D5.
func verhoeff(d []int) bool {
	mul := func(a, b int) int { // of D5: 0-4 rotate, 5-9 reflect
		switch {
		case a < 5 && b < 5:
			return (a + b) % 5
		case a < 5:
			return 5 + (a+b-5)%5
		case b < 5:
			return 5 + (a-5-b+5)%5
		}
		return (a - b + 5) % 5
	}
	permute := [10]int{1, 5, 7, 6, 2, 8, 3, 0, 9, 4}
	c := 0
	for i := range d {
		v := d[len(d)-1-i]
		for range i % 8 {
			v = permute[v]
		}
		c = mul(c, v)
	}
	return c == 0
}

// date says whether year, month and day can be one of a living person.
func date(year, month, day int) bool {
	return year >= 1900 && year <= 2099 && month >= 1 && month <= 12 && day >= 1 && day <= 31
}

// repeated says that all digits are alike, which no issued number is.
func repeated(d []int) bool {
	for _, v := range d[1:] {
		if v != d[0] {
			return false
		}
	}
	return true
}
