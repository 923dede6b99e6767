// Package privacy finds personal data in English and Chinese text and replaces it by placeholders, which
// are put back as an answer streams. It is pure: no clock, no I/O, no global state.
//
// What it finds is what can be told by its form: e-mail addresses, telephone numbers, payment cards, IBANs,
// national ids, keys and passwords, and names from a list. Numbers count only where their check digits or
// numbering plan say so, or where the words beside them do. It is a net, not a proof: an address in prose or
// a name that is on no list passes. What must not leave at all belongs on the device (mode only_on_device).
package privacy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrConfig is wrapped by errors of New.
var ErrConfig = errors.New("privacy")

// Kind says what sort of data a finding is.
type Kind string

// The kinds.
const (
	Email      Kind = "email"
	Phone      Kind = "phone"
	Card       Kind = "card"
	IBAN       Kind = "iban"
	NationalID Kind = "national_id"
	APIKey     Kind = "api_key"
	Name       Kind = "name"
)

// Kinds are all kinds, in the order in which they win when two find the same text.
func Kinds() []Kind { return []Kind{Name, APIKey, Email, IBAN, NationalID, Card, Phone} }

// Finding is personal data in a text: the bytes from Start to before End. Rule tells the form by which it
// was known, such as "visa" or "cn_resident_id".
type Finding struct {
	Kind       Kind
	Rule       string
	Start, End int
}

// Config says what to look for. The zero value looks for everything but names.
type Config struct {
	Kinds   []Kind   // empty: all
	Names   []string // of people, places, projects; at most MaxNames of 2 to 100 characters
	Regions []string // where telephone numbers without a country code may be from (ISO 3166); empty: US, GB, CN
}

// MaxNames bounds the list.
const MaxNames = 10000

// Detector finds personal data. It may be used by many goroutines at once.
type Detector struct {
	rules   []rule
	names   *names
	regions []string
}

// New makes a detector. Errors wrap ErrConfig.
func New(c Config) (*Detector, error) {
	kinds := c.Kinds
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	for _, k := range kinds {
		if !slices.Contains(Kinds(), k) {
			return nil, fmt.Errorf("%w: kind %q is unknown: use some of %s", ErrConfig, k, kindList())
		}
	}
	d := &Detector{regions: c.Regions}
	if len(d.regions) == 0 {
		d.regions = []string{"US", "GB", "CN"}
	}
	for _, r := range d.regions {
		if !knownRegion(r) {
			return nil, fmt.Errorf("%w: region %q is unknown: use two letters such as US, GB or CN", ErrConfig, r)
		}
	}
	for _, r := range allRules(d.regions) {
		if slices.Contains(kinds, r.kind) {
			d.rules = append(d.rules, r)
		}
	}
	if slices.Contains(kinds, Name) {
		var err error
		if d.names, err = newNames(c.Names); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func kindList() string {
	var b []string
	for _, k := range Kinds() {
		b = append(b, string(k))
	}
	return strings.Join(b, ", ")
}

// Detect finds the personal data of text, in order and without overlap. A text of n bytes costs about
// n x 1 to 6 us.
func (d *Detector) Detect(text string) []Finding {
	n := normalise(text)
	var all []Finding
	for i := range d.rules {
		all = d.rules[i].find(n.text, all)
	}
	all = d.names.find(n.text, all)
	all = longestFirst(all)
	for i := range all {
		all[i].Start, all[i].End = n.original(all[i].Start), n.original(all[i].End)
	}
	return all
}

// longestFirst keeps, of findings that overlap, the longest; of equals the first kind in Kinds. A key or a
// password before an @ is no part of an address.
func longestFirst(all []Finding) []Finding {
	if len(all) < 2 {
		return all
	}
	order := Kinds()
	key := func(f Finding) int {
		if f.Kind == APIKey {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		if d := key(a) - key(b); d != 0 {
			return d
		}
		if d := (b.End - b.Start) - (a.End - a.Start); d != 0 {
			return d
		}
		if d := slices.Index(order, a.Kind) - slices.Index(order, b.Kind); d != 0 {
			return d
		}
		return a.Start - b.Start
	})
	var kept []Finding // in order of place
	for _, f := range all {
		i, _ := slices.BinarySearchFunc(kept, f, func(a, b Finding) int { return a.Start - b.Start })
		if (i > 0 && kept[i-1].End > f.Start) || (i < len(kept) && kept[i].Start < f.End) {
			continue
		}
		kept = slices.Insert(kept, i, f)
	}
	return kept
}
