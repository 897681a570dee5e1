package solutions_test

import (
	"testing"

	"iolab/checker/conformance"
	epolllt "iolab/solutions/02-epoll-lt"
)

func benchmarkTurnHere(b *testing.B) {
	b.Run("epoll-lt", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(epolllt.New), 5000) })
}
