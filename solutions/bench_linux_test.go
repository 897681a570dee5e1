package solutions_test

import (
	"testing"

	"iolab/checker/conformance"
	epolllt "iolab/solutions/02-epoll-lt"
	epollet "iolab/solutions/03-epoll-et"
	kqueueloop "iolab/solutions/04-kqueue"
)

func benchmarkTurnHere(b *testing.B) {
	b.Run("epoll-lt", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(epolllt.New), 5000) })
	b.Run("epoll-et", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(epollet.New), 5000) })
	b.Run("kqueue-emulated", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(kqueueloop.New), 5000) })
}

// What a client that reads late costs each kind of epoll.
func BenchmarkStall(b *testing.B) {
	b.Run("epoll-lt", func(b *testing.B) { conformance.BenchmarkStall(b, conformance.Of(epolllt.New)) })
	b.Run("epoll-et", func(b *testing.B) { conformance.BenchmarkStall(b, conformance.Of(epollet.New)) })
}

// What a message costs each when a thousand clients are active at once.
func BenchmarkActive(b *testing.B) {
	b.Run("epoll-lt", func(b *testing.B) { conformance.BenchmarkActive(b, conformance.Of(epolllt.New), 1000) })
	b.Run("epoll-et", func(b *testing.B) { conformance.BenchmarkActive(b, conformance.Of(epollet.New), 1000) })
	b.Run("kqueue-emulated", func(b *testing.B) { conformance.BenchmarkActive(b, conformance.Of(kqueueloop.New), 1000) })
}
