package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/outrider-llm/outrider/bench/link"
)

// linkFlag is --link: an emulated link's profile.
type linkFlag struct {
	text string // as given, empty: it was not
	c    link.Config
}

// linkUsage explains --link in the help of every command that has it.
const linkUsage = "the emulated link in place of --rtt: " + link.Forms

// String implements pflag.Value.
func (f *linkFlag) String() string { return f.text }

// Type implements pflag.Value.
func (f *linkFlag) Type() string { return "LINK" }

// Set implements pflag.Value.
func (f *linkFlag) Set(s string) (err error) {
	f.text = s
	f.c, err = link.Parse(s)
	return err
}

// profile is the link asked for, or a plain one of this round trip.
func (f *linkFlag) profile(rtt time.Duration) link.Config {
	if f.text == "" {
		return link.Config{RTT: rtt}
	}
	return f.c
}

// linksFlag is --link where it may be given several times.
type linksFlag []linkFlag

var _ pflag.Value = (*linksFlag)(nil)

// String implements pflag.Value.
func (f *linksFlag) String() string {
	var all []string
	for _, l := range *f {
		all = append(all, l.text)
	}
	return strings.Join(all, " ")
}

// Type implements pflag.Value.
func (f *linksFlag) Type() string { return "LINK" }

// Set implements pflag.Value.
func (f *linksFlag) Set(s string) error {
	var l linkFlag
	if err := l.Set(s); err != nil {
		return err
	}
	*f = append(*f, l)
	return nil
}

// presetHelp lists the named links.
func presetHelp() string {
	var b strings.Builder
	b.WriteString("Links by name, to which settings may be added (--link lte,loss=2%):\n")
	for _, p := range link.Presets() {
		fmt.Fprintf(&b, "  %-10s %s\n", p[0], p[1])
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// over are the links asked for, or like base one for each round trip.
func (f linksFlag) over(rtts []time.Duration, base link.Config) (all []link.Config) {
	for _, l := range f {
		all = append(all, l.c)
	}
	if len(f) > 0 {
		return all
	}
	for _, rtt := range rtts {
		base.RTT = rtt
		all = append(all, base)
	}
	return all
}
