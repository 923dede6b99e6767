package privacy

import (
	"math"
	"regexp"
	"strings"
)

// secrets are keys that their makers gave a form, and values which the text calls a key or a password.
func secrets() []rule {
	key := func(name, re string, pieces ...string) rule {
		return rule{kind: APIKey, name: name, re: regexp.MustCompile(re), gate: holding(pieces...)}
	}
	private := key("private_key", `-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]+?-----END [A-Z ]*PRIVATE KEY-----`, "PRIVATE KEY-----")
	private.loose = true
	assigned := rule{kind: APIKey, name: "assigned", gate: func(t string) bool { return strings.ContainsAny(t, ":=是为") }, group: 1, check: random, loose: true, longer: keyByte,
		re: regexp.MustCompile(`(?i)(?:api[_\- ]?key|secret(?:[_\- ]?key)?|access[_\- ]?(?:key|token)|auth[_\- ]?token|client[_\- ]?secret|private[_\- ]?key|token|密钥|令牌)["']?\s{0,3}(?::=|=>|=|:|：| is |是|为)\s{0,3}["'` + "`" + `]?([A-Za-z0-9_\-+/=.~]{16,200})`)}
	password := rule{kind: APIKey, name: "password", group: 1, check: secretWord, loose: true, longer: keyByte, gate: func(t string) bool { return strings.ContainsAny(t, ":=是为") || strings.Contains(t, " is ") },
		re: regexp.MustCompile(`(?i)(?:\bpass(?:word|wd|phrase|code)?|\bpwd|密码|口令)["']?\s{0,3}(?::=|=|:|：|\sis\s|是|为)\s{0,3}["'` + "`" + `]?([!#-&*+\-./0-:<-_a-~(]{5,199}[!#-&*+\-./0-:<-_a-~])`)} // ASCII but quotes, comma, semicolon and )
	inURL := rule{kind: APIKey, name: "url_password", group: 1, loose: true, gate: holding("://"),
		re: regexp.MustCompile(`\b[a-z][a-z0-9+]{1,15}://[^\s/:@]{1,}:([^\s/@]{3,128})@`)}
	onLine := rule{kind: APIKey, name: "command_password", group: 1, loose: true, check: func(m string) bool { return !placeholderLike(m) && !strings.HasPrefix(m, "$") }, gate: holding("-u", "--user", "--proxy-user"),
		re: regexp.MustCompile(`(?:^|\s)(?:-[uU] ?|--(?:proxy-)?user[ =])["']?[A-Za-z0-9_.@+\-]{1,64}:([^\s"':/][^\s"']{4,127})`)}
	return []rule{
		key("openai", `sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_\-]{20,}`, "sk-"),
		key("anthropic", `sk-ant-[A-Za-z0-9_\-]{20,}`, "sk-ant-"),
		key("github", `(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})`, "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
		key("gitlab", `glpat-[A-Za-z0-9_\-]{20,}`, "glpat-"),
		key("aws", `(?:AKIA|ASIA|AROA|AIDA)[0-9A-Z]{16}`, "AKIA", "ASIA", "AROA", "AIDA"),
		key("google", `AIza[0-9A-Za-z_\-]{35}`, "AIza"),
		key("slack", `xox[abeprs]-[A-Za-z0-9\-]{10,}`, "xox"),
		key("stripe", `(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}`, "_live_", "_test_"),
		key("hugging_face", `hf_[A-Za-z0-9]{30,}`, "hf_"),
		key("npm", `npm_[A-Za-z0-9]{36}`, "npm_"),
		key("pypi", `pypi-[A-Za-z0-9_\-]{40,}`, "pypi-"),
		key("sendgrid", `SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}`, "SG."),
		key("twilio", `(?:SK|AC)[0-9a-f]{32}`, "SK", "AC"),
		key("alibaba", `LTAI[A-Za-z0-9]{12,}`, "LTAI"),
		key("tencent", `AKID[A-Za-z0-9]{32,}`, "AKID"),
		key("telegram", `\d{8,10}:AA[A-Za-z0-9_\-]{32,}`, ":AA"),
		key("jwt", `eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{10,}`, "eyJ"),
		{kind: APIKey, name: "bearer", group: 1, loose: true, gate: holding("earer "), check: random, longer: keyByte,
			re: regexp.MustCompile(`[Bb]earer ([A-Za-z0-9_\-+/=.~]{16,200})`)},
		private, assigned, password, inURL, onLine,
	}
}

// random says that a value is no word: letters and digits mixed, and at least 3 bits a character.
func random(m string) bool {
	letters, numbers := false, false
	count := map[rune]float64{}
	for _, c := range m {
		count[c]++
		letters = letters || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		numbers = numbers || c >= '0' && c <= '9'
	}
	bits := 0.0
	for _, n := range count {
		p := n / float64(len(m))
		bits -= p * math.Log2(p)
	}
	return letters && numbers && bits >= 3 && !placeholderLike(m)
}

// secretWord says that what follows "password:" is one and not the sentence's next word.
func secretWord(m string) bool {
	classes := 0
	for _, in := range []func(rune) bool{
		func(c rune) bool { return c >= 'a' && c <= 'z' }, func(c rune) bool { return c >= 'A' && c <= 'Z' },
		func(c rune) bool { return c >= '0' && c <= '9' }, func(c rune) bool { return c < 0x80 && strings.ContainsRune("!@#$%^&*_-+=?.~", c) },
	} {
		if strings.ContainsFunc(strings.TrimRight(m, ".!?"), in) {
			classes++
		}
	}
	for _, c := range m {
		if c > 0x7F {
			return false
		}
	}
	return classes >= 2 && !placeholderLike(m) && strings.ContainsAny(m, "0123456789!@#$%^&*")
}

// placeholderLike is a value that stands for one: ${TOKEN}, <your-key>, xxxx, os.Getenv(…).
func placeholderLike(m string) bool {
	l := strings.ToLower(m)
	for _, p := range []string{"${", "<", "xxxx", "****", "your", "example", "getenv", "environ", "process.env", "placeholder", "changeme"} {
		if strings.Contains(l, p) {
			return true
		}
	}
	return false
}

func keyByte(c byte) bool { return alnum(c) || strings.IndexByte("_-+/=.~", c) >= 0 }
