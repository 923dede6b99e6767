//go:build !unix

package backend_test

import "testing"

func stop(t *testing.T, _ int) { t.Skip("no signal to stop a process") }
