package solutions_test

import (
	"testing"

	"iolab/checker/conformance"
	selectloop "iolab/solutions/01-select"
)

// The same measurement for every solution, side by side: what a silent connection
// costs. Those that run on Linux alone are in bench_linux_test.go.
func BenchmarkTurn(b *testing.B) {
	b.Run("select", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(selectloop.New), 900) })
	benchmarkTurnHere(b)
}
