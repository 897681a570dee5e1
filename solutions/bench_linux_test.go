package solutions_test

import (
	"testing"

	"iolab/checker/conformance"
	epolllt "iolab/solutions/02-epoll-lt"
	epollet "iolab/solutions/03-epoll-et"
	kqueueloop "iolab/solutions/04-kqueue"
	iocploop "iolab/solutions/05-iocp"
	uringloop "iolab/solutions/06-io_uring"
)

func benchmarkTurnHere(b *testing.B) {
	b.Run("iocp-emulated", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(iocploop.New), 5000) })
	b.Run("epoll-lt", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(epolllt.New), 5000) })
	b.Run("epoll-et", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(epollet.New), 5000) })
	b.Run("io_uring", func(b *testing.B) { conformance.BenchmarkTurn(b, conformance.Of(uringloop.New), 5000) })
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
	b.Run("io_uring", func(b *testing.B) { conformance.BenchmarkActive(b, conformance.Of(uringloop.New), 1000) })
}

// What a broadcast to a thousand clients costs.
func BenchmarkBroadcast(b *testing.B) {
	b.Run("epoll-et", func(b *testing.B) { conformance.BenchmarkBroadcast(b, conformance.Of(epollet.New), 1000) })
	b.Run("io_uring", func(b *testing.B) { conformance.BenchmarkBroadcast(b, conformance.Of(uringloop.New), 1000) })
	b.Run("kqueue-emulated", func(b *testing.B) { conformance.BenchmarkActive(b, conformance.Of(kqueueloop.New), 1000) })
}
