package solutions_test

import (
	"testing"

	"iolab/checker/conformance"
	selectloop "iolab/solutions/01-select"
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
	b.Run("kqueue-emulated", func(b *testing.B) { conformance.BenchmarkActive(b, conformance.Of(kqueueloop.New), 1000) })
}

// What a broadcast to a thousand clients costs.
func BenchmarkBroadcast(b *testing.B) {
	b.Run("epoll-et", func(b *testing.B) { conformance.BenchmarkBroadcast(b, conformance.Of(epollet.New), 1000) })
	b.Run("io_uring", func(b *testing.B) { conformance.BenchmarkBroadcast(b, conformance.Of(uringloop.New), 1000) })
}

// everyEngine is what there is on Linux.
var everyEngine = []struct {
	name string
	new  conformance.Engine
}{
	{"select", conformance.Of(selectloop.New)},
	{"epoll-lt", conformance.Of(epolllt.New)},
	{"epoll-et", conformance.Of(epollet.New)},
	{"kqueue-emulated", conformance.Of(kqueueloop.New)},
	{"iocp-emulated", conformance.Of(iocploop.New)},
	{"io_uring", conformance.Of(uringloop.New)},
}

// What a message costs each when it comes alone, and that it allocates nothing.
func BenchmarkMessage(b *testing.B) {
	for _, e := range everyEngine {
		b.Run(e.name, func(b *testing.B) { conformance.BenchmarkMessage(b, e.new) })
	}
}

func TestMessagesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, e := range everyEngine {
		t.Run(e.name, func(t *testing.T) {
			if e.name == "iocp-emulated" {
				t.Skip("the emulation keeps a record of each operation, as Windows' kernel does, on this heap")
			}
			conformance.MessagesDoNotAllocate(t, e.new)
		})
	}
}
