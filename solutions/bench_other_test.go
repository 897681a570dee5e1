//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package solutions_test

import "testing"

func benchmarkTurnHere(*testing.B) {}
