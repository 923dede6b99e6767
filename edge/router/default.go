package router

import _ "embed"

//go:embed default.yaml
var defaultPolicy string

// DefaultName is what the compiled-in policy is called.
const DefaultName = "default policy"

// DefaultText is the compiled-in policy as a file.
func DefaultText() string { return defaultPolicy }

// Default is the compiled-in policy.
func Default() (*Policy, error) { return Parse(DefaultName, []byte(defaultPolicy)) }
