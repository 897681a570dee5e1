package conformance

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// BenchmarkTurn measures a round trip of one byte between one client and the echo
// engine, client and loop taking turns on one thread: first alone, then beside more
// and more silent connections, and last alone again but with a high descriptor. Most
// of the time is the kernel's TCP, which is the same for all; what grows is the
// mechanism's own. Each "idle" must be at most most.
func BenchmarkTurn(b *testing.B, newEngine Engine, most int) {
	for _, idle := range []int{0, 100, 300, 900, 5000} {
		if idle <= most {
			b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) { roundTrips(b, newEngine, idle, 0) })
		}
	}
	b.Run("descriptor=1000", func(b *testing.B) { roundTrips(b, newEngine, 0, 1000) })
}

func roundTrips(b *testing.B, newEngine Engine, idle, descriptor int) {
	l := labtest.Start(b, newEngine)
	var accepted int
	if idle > 0 {
		l.Crowd(idle)
		accepted = idle
	}
	release := func() {}
	if descriptor > 0 {
		release = l.Raise(descriptor - 1) // the client gets this one, the server's end the next
	}
	client := l.Dial()
	release()
	l.WantCount(accepted + 1)
	l.Pause()
	peer := client.Raw()
	defer peer.Close()
	before := l.Stats()
	b.ResetTimer()
	l.Do(func(e engine.Engine) {
		for range b.N {
			peer.Write1()
			want := e.Stats().BytesOut + 1
			for e.Stats().BytesOut < want {
				if err := e.Poll(time.Second); err != nil {
					b.Fatal(err)
				}
			}
			peer.Read1()
		}
	})
	b.StopTimer()
	after := l.Stats()
	b.ReportMetric(float64(after.Total()-before.Total())/float64(b.N), "syscalls/op")
	l.Resume()
}

// BenchmarkActive measures a message of one byte when n clients send one at the same
// time: each writes, then the engine makes turns until all are answered, then each reads,
// everything on one thread. An operation is one message, the client's part included.
func BenchmarkActive(b *testing.B, newEngine Engine, n int) {
	l := labtest.Start(b, newEngine)
	clients := l.DialMany(n)
	l.WantCount(n)
	l.Pause()
	peers := make([]*labtest.Raw, n)
	for i, c := range clients {
		peers[i] = c.Raw()
		defer peers[i].Close()
	}
	before := l.Stats()
	b.ResetTimer()
	for left := b.N; left > 0; left -= n {
		l.Do(func(e engine.Engine) {
			active := peers[:min(n, left)]
			for _, peer := range active {
				peer.Write1()
			}
			want := e.Stats().BytesOut + uint64(len(active))
			for e.Stats().BytesOut < want {
				if err := e.Poll(time.Second); err != nil {
					b.Fatal(err)
				}
			}
			for _, peer := range active {
				peer.Read1()
			}
		})
	}
	b.StopTimer()
	after := l.Stats()
	b.ReportMetric(float64(after.Total()-before.Total())/float64(b.N), "syscalls/op")
	l.Resume()
}

// BenchmarkStall counts the system calls that it costs the echo engine when a client
// reads late: it sends eight megabytes without reading, with a small receive buffer,
// and reads them back when the engine takes no more. The time is mostly that wait, and
// says nothing.
func BenchmarkStall(b *testing.B, newEngine Engine) {
	l := labtest.Start(b, newEngine)
	client := l.DialSmall()
	client.EchoQuietly([]byte("first"))
	data := labtest.Pattern(1, 8<<20)
	before := l.Stats()
	for range b.N {
		client.SendInBackground(data)
		client.WaitStalled()
		client.WantQuietly(data)
		client.WaitSent()
	}
	after := l.Stats()
	for _, call := range []engine.Call{engine.CallEpollWait, engine.CallEpollCtl, engine.CallRead, engine.CallWrite} {
		b.ReportMetric(float64(after.Calls[call]-before.Calls[call])/float64(b.N), call.String()+"/op")
	}
	b.ReportMetric(float64(after.ShortWrites-before.ShortWrites)/float64(b.N), "short-writes/op")
	b.ReportMetric(float64(after.EAGAINs-before.EAGAINs)/float64(b.N), "EAGAIN/op")
}

// BenchmarkBroadcast measures one byte for each of n clients, sent between two turns, as a
// game server does after a tick: an operation is all n sends, the turns that take them to
// the kernel, and the reading of all, everything on one thread.
func BenchmarkBroadcast(b *testing.B, newEngine Engine, n int) {
	var all []engine.Conn
	l := labtest.Start(b, newEngine, labtest.WithHandler(service{open: func(c engine.Conn) { all = append(all, c) }}))
	clients := l.DialMany(n)
	l.WantCount(n)
	l.Pause()
	peers := make([]*labtest.Raw, n)
	for i, c := range clients {
		peers[i] = c.Raw()
		defer peers[i].Close()
	}
	message := []byte{'!'}
	before := l.Stats()
	b.ResetTimer()
	l.Do(func(e engine.Engine) {
		for range b.N {
			want := e.Stats().BytesOut + uint64(n)
			for _, c := range all {
				c.Send(message)
			}
			for e.Stats().BytesOut < want {
				if err := e.Poll(time.Second); err != nil {
					b.Fatal(err)
				}
			}
			for _, peer := range peers {
				peer.Read1()
			}
		}
	})
	b.StopTimer()
	after := l.Stats()
	b.ReportMetric(float64(after.Total()-before.Total())/float64(b.N), "syscalls/op")
	l.Resume()
}

// BenchmarkMessage measures a message of one byte of one client, with what it allocates: an
// operation is the echo, the client's part included, which allocates nothing.
func BenchmarkMessage(b *testing.B, newEngine Engine) {
	l, peer := alone(b, newEngine)
	b.ReportAllocs()
	b.ResetTimer()
	const atOnce = 1000
	for left := b.N; left > 0; left -= atOnce {
		l.Do(func(e engine.Engine) { echoes(e, peer, min(left, atOnce)) })
	}
	b.StopTimer()
	l.Resume()
}

// MessagesDoNotAllocate wants the engine to serve messages from memory that it has. What
// Go's runtime allocates now and then for itself is allowed for.
func MessagesDoNotAllocate(t *testing.T, newEngine Engine) {
	const messages = 5000
	l, peer := alone(t, newEngine)
	var before, after runtime.MemStats
	l.Do(func(e engine.Engine) {
		echoes(e, peer, messages) // grows what grows once
		runtime.ReadMemStats(&before)
		echoes(e, peer, messages)
		runtime.ReadMemStats(&after)
	})
	l.Resume()
	if n := after.Mallocs - before.Mallocs; n > messages/100 {
		t.Errorf("%d messages should not allocate, but there were %d allocations, %d bytes", messages, n, after.TotalAlloc-before.TotalAlloc)
	}
}

// alone is an engine that stands still, and its one client.
func alone(t testing.TB, newEngine Engine) (*labtest.Lab, *labtest.Raw) {
	l := labtest.Start(t, newEngine)
	client := l.Dial()
	l.WantCount(1)
	l.Pause()
	peer := client.Raw()
	t.Cleanup(peer.Close)
	return l, peer
}

// echoes has peer send n bytes, one after the other, and e echo them.
func echoes(e engine.Engine, peer *labtest.Raw, n int) {
	want := e.Stats().BytesOut
	for range n {
		peer.Write1()
		want++
		for e.Stats().BytesOut < want {
			if e.Poll(time.Second) != nil {
				return
			}
		}
		peer.Read1()
	}
}
