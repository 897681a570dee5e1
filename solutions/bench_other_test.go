//go:build !linux

package solutions_test

import "testing"

func benchmarkTurnHere(*testing.B) {}
