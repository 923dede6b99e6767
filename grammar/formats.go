package grammar

// formats of strings and what they match, in RE2 syntax. They allow no more than their standards do.
func formatPattern(name string) (pattern string, known bool) {
	const (
		year  = `\d\d\d\d`
		leap  = `(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)`
		date  = `(?:` + year + `-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))|` + leap + `-02-29)`
		time  = `(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)`
		octet = `(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
		hex   = `[0-9A-Fa-f]`
		label = `[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?`
		host  = label + `(?:\.` + label + `){0,8}`
	)
	switch name {
	case "date":
		return date, true
	case "time":
		return time, true
	case "date-time":
		return date + `T` + time, true
	case "duration":
		return `P(?:\d{1,9}W|(?:\d{1,9}Y(?:\d{1,9}M(?:\d{1,9}D)?)?|\d{1,9}M(?:\d{1,9}D)?|\d{1,9}D)(?:T(?:\d{1,9}H(?:\d{1,9}M(?:\d{1,9}S)?)?|\d{1,9}M(?:\d{1,9}S)?|\d{1,9}S))?|T(?:\d{1,9}H(?:\d{1,9}M(?:\d{1,9}S)?)?|\d{1,9}M(?:\d{1,9}S)?|\d{1,9}S))`, true
	case "uuid":
		return hex + `{8}-` + hex + `{4}-` + hex + `{4}-` + hex + `{4}-` + hex + `{12}`, true
	case "email":
		return `[A-Za-z0-9_+-]{1,32}(?:\.[A-Za-z0-9_+-]{1,15}){0,2}@` + host, true
	case "hostname":
		return host, true
	case "ipv4":
		return octet + `(?:\.` + octet + `){3}`, true
	case "ipv6":
		return `(?:` + hex + `{1,4}:){7}` + hex + `{1,4}|::|::1|(?:` + hex + `{1,4}:){1,6}:` + hex + `{1,4}`, true
	case "uri":
		return `[a-z][a-z0-9+.-]{1,15}://` + host + `(?::[1-9]\d{0,3})?(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]*)*(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?(?:#[A-Za-z0-9._~!$&'()*+,;=:@/?-]*)?`, true
	}
	return "", false
}

const knownFormats = "date, time, date-time, duration, uuid, email, hostname, ipv4, ipv6 and uri"
