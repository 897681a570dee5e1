//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package solutions_test

import (
	"testing"

	"iolab/checker/conformance"
	kqueueloop "iolab/solutions/04-kqueue"
)

func benchmarkTurnHere(b *testing.B) {
	b.Run("kqueue", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(kqueueloop.New), 5000) })
}
