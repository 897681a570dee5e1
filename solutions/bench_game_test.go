package solutions_test

import (
	"fmt"
	"net/netip"
	"testing"

	"iolab/checker/gameclient"
	"iolab/lessons/engine"
	gameloop "iolab/solutions/07-game-loop"
)

// crowdConn is a player's connection that takes everything, at the price of a copy, as a
// kernel does; the system calls themselves are measured by checker/gamebench.
type crowdConn struct {
	engine.Identity
	sink  []byte
	bytes *int64
}

func (c *crowdConn) Send(p []byte) error {
	*c.bytes += int64(copy(c.sink, p))
	return nil
}

func (c *crowdConn) Queued() int       { return 0 }
func (c *crowdConn) CloseWrite() error { return nil }
func (c *crowdConn) Close() error      { return nil }

// BenchmarkGame measures a whole tick of the game server without a network: what the
// players send, the step, the snapshots. A tenth of the players send inputs and move, the
// others only acknowledge. The world grows with the number of players, so that each has
// about six others near it. It shows how the cost grows when everybody sees everybody, and
// when not.
func BenchmarkGame(b *testing.B) {
	for _, how := range []struct {
		name           string
		full, interest bool
	}{
		{"everything-full", true, false},
		{"everything-deltas", false, false},
		{"interest-deltas", false, true},
	} {
		for _, players := range []int{100, 300, 1000, 3000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", how.name, players), func(b *testing.B) { benchmarkGame(b, players, how.full, how.interest) })
		}
	}
}

func benchmarkGame(b *testing.B, players int, full, interest bool) {
	side := 24
	for side*side < players*24*24/7 {
		side += 8
	}
	g := gameloop.New(gameloop.Config{Width: side, Height: side, Seed: 1, MaxPlayers: players, FullOnly: full, Interest: interest})
	var bytes int64
	sink := make([]byte, 1<<20)
	conns := make([]*crowdConn, players)
	for i := range conns {
		conns[i] = &crowdConn{Identity: engine.NewIdentity(uint64(i+1), netip.AddrPort{}), sink: sink, bytes: &bytes}
		g.OnOpen(conns[i])
		g.OnData(conns[i], gameclient.AppendJoin(nil, 0, gameclient.Token{}))
	}
	if got := g.Stats().Players; got != players {
		b.Fatalf("%d of %d players have joined", got, players)
	}
	var buf []byte
	tick := uint32(0)
	turn := func() {
		for i, c := range conns {
			buf = gameclient.AppendAck(buf[:0], tick)
			if i%10 == 0 {
				buf = gameclient.AppendInput(buf, tick+1, int16(40-80*int(tick/50%2)), 0)
			}
			g.OnData(c, buf)
		}
		g.Step()
		g.Broadcast()
		tick++
	}
	for range 50 {
		turn()
	}
	bytes = 0
	b.ReportAllocs()
	for b.Loop() {
		turn()
	}
	b.ReportMetric(float64(bytes)/float64(b.N)/float64(players), "B/player")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/tick")
}
