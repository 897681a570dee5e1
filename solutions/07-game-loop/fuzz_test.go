package gameloop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"iolab/checker/gameclient"
	"iolab/lessons/engine"
)

// FuzzDecoder cuts a stream into pieces and wants the frames that it has, as a simpler
// decoder finds them that sees it whole.
func FuzzDecoder(f *testing.F) {
	join := gameclient.AppendJoin(nil, 0, gameclient.Token{1})
	f.Add(gameclient.AppendLeave(gameclient.AppendInput(join, 1, 2, 3)), []byte{1, 5, 200})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{3})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 5}, []byte{255})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		want, wantErr := framesOf(stream)
		var d Decoder
		var got [][]byte
		var err error
		for i, rest := 0, stream; len(rest) > 0 && err == nil; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(int(cuts[i%len(cuts)])+1, n)
			}
			piece := bytes.Clone(rest[:n])
			rest = rest[n:]
			for {
				typ, body, left, e := d.Next(piece)
				if err = e; e != nil || typ == 0 {
					break
				}
				got = append(got, append([]byte{byte(typ)}, body...))
				piece = left
			}
			if cap(d.part) > 64 {
				t.Fatalf("the decoder keeps %d bytes; the longest frame has %d", cap(d.part), lengthSize+MaxClientFrame)
			}
		}
		if (err != nil) != (wantErr != nil) || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %x and %v, want %x and %v", got, err, want, wantErr)
		}
	})
}

// framesOf is the frames of a stream that is there as a whole, up to the first that is
// none.
func framesOf(stream []byte) (frames [][]byte, err error) {
	for len(stream) >= 4 {
		n := binary.BigEndian.Uint32(stream)
		if n == 0 || n > 19 {
			return frames, ErrFrame
		}
		if len(stream) < 4+int(n) {
			return frames, nil
		}
		if stream[4] == 0 {
			return frames, ErrFrame
		}
		frames = append(frames, stream[4:4+n])
		stream = stream[4+n:]
	}
	return frames, nil
}

// fuzzConn is a connection of a session: an honest client's, or another's.
type fuzzConn struct {
	engine.Identity
	t        *testing.T
	got      []byte
	queued   int
	stalled  bool
	finished bool
	closed   bool
	gone     bool
}

func (c *fuzzConn) Queued() int { return c.queued }

func (c *fuzzConn) Send(p []byte) error {
	if c.closed || c.finished {
		return engine.ErrClosed
	}
	if c.stalled {
		if c.queued += len(p); c.queued > 1<<20 {
			c.t.Fatal("a megabyte is queued for one client")
		}
	}
	c.got = append(c.got, p...)
	return nil
}

func (c *fuzzConn) CloseWrite() error { c.finished = true; return nil }
func (c *fuzzConn) Close() error      { c.closed = true; return nil }

// frames are the whole frames that the client was sent since the last call.
func (c *fuzzConn) frames() (frames [][]byte) {
	for len(c.got) > 0 {
		n := int(binary.BigEndian.Uint32(c.got))
		if n < 1 || 4+n > len(c.got) {
			c.t.Fatalf("a frame was cut: %d bytes are left", len(c.got))
		}
		frames = append(frames, c.got[4:4+n])
		c.got = c.got[4+n:]
	}
	c.got = nil
	return frames
}

// session is a game in which somebody does what the fuzzer thinks of, and one honest
// player plays on.
type session struct {
	t     *testing.T
	g     *Game
	conns []*fuzzConn

	honest   *fuzzConn
	view     gameclient.View
	id       uint32
	sequence uint32
}

func (s *session) connect() *fuzzConn {
	c := &fuzzConn{Identity: engine.NewIdentity(uint64(len(s.conns)+1), netip.AddrPort{}), t: s.t}
	s.conns = append(s.conns, c)
	s.g.OnOpen(c)
	s.reap()
	return c
}

func (s *session) data(c *fuzzConn, p []byte) {
	if !c.closed && !c.gone && len(p) > 0 {
		s.g.OnData(c, p)
		s.reap()
	}
}

func (s *session) reap() {
	for _, c := range s.conns {
		if c.closed && !c.gone {
			c.gone = true
			s.g.OnClose(c, nil)
		}
	}
}

// tick is a tick for all, with an input of the honest player's, whose view must then be
// the world.
func (s *session) tick() {
	s.sequence++
	s.data(s.honest, gameclient.AppendInput(nil, s.sequence, 20, -10))
	s.g.Step()
	s.reap()
	s.g.Broadcast()
	s.reap()
	for _, f := range s.honest.frames() {
		if f[0] != gameclient.Snapshot {
			s.t.Fatalf("the honest player was sent a frame of type %d", f[0])
		}
		if _, err := s.view.Apply(f[1:]); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.view.Tick != s.g.tick {
		s.t.Fatalf("the honest player has tick %d, but it is %d", s.view.Tick, s.g.tick)
	}
	if me := s.view.Players[s.id]; me.Sequence != s.sequence {
		s.t.Fatalf("the honest player's input %d was not applied at its tick: %d", s.sequence, me.Sequence)
	}
	s.data(s.honest, gameclient.AppendAck(nil, s.g.tick))
	s.check()
}

// check is what must hold at all times.
func (s *session) check() {
	alive := 0
	for slot, p := range s.g.world.Players {
		seat := &s.g.seats[slot]
		if (p.ID != 0) != (seat.token != Token{}) {
			s.t.Fatalf("slot %d has player %d and the token %x", slot, p.ID, seat.token)
		}
		if len(seat.inputs) > s.g.cfg.InputQueue {
			s.t.Fatalf("%d inputs are queued", len(seat.inputs))
		}
		if p.ID == 0 {
			continue
		}
		alive++
		if at, ok := s.g.tokens[seat.token]; !ok || at != int32(slot) {
			s.t.Fatalf("the token of slot %d leads to %d", slot, at)
		}
		if c := seat.client; c != nil && c.slot != int32(slot) {
			s.t.Fatalf("seat %d is taken by a client that sits at %d", slot, c.slot)
		}
		for other, q := range s.g.world.Players[slot+1:] {
			if q.ID != 0 && abs(p.X-q.X) < 2*Radius && abs(p.Y-q.Y) < 2*Radius {
				s.t.Fatalf("slots %d and %d are in one place", slot, slot+1+other)
			}
		}
		if seen := s.view.Players[p.ID]; s.view.Tick == s.g.tick && !s.g.cfg.Interest && seen.ID == p.ID && seen.X != p.X {
			s.t.Fatalf("the honest player sees player %d at %d, not at %d", p.ID, seen.X, p.X)
		}
	}
	if alive != len(s.g.tokens) {
		s.t.Fatalf("%d players and %d tokens", alive, len(s.g.tokens))
	}
	for i, c := range s.g.clients {
		if c.index != i {
			s.t.Fatalf("client %d thinks that it is %d", i, c.index)
		}
		if c.slot >= 0 && s.g.seats[c.slot].client != c {
			s.t.Fatalf("client %d sits at %d, where another sits", i, c.slot)
		}
	}
}

// FuzzSession plays whole sessions: bytes of a script are connections, frames good and
// bad, halves of frames, floods, stalls and ends, and ticks between them.
func FuzzSession(f *testing.F) {
	f.Add([]byte("\x00\x01\x20\x01\x21\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte{0, 1, 0, 8, 8, 3, 4, 5, 8, 6, 8, 2, 1, 8, 11, 8, 12, 8, 9, 8, 10, 8, 7, 8, 8, 8})
	f.Fuzz(func(t *testing.T, script []byte) {
		s := &session{t: t, g: New(Config{Width: 20, Height: 20, MaxPlayers: 8, IdleTicks: 40, JoinTicks: 10, RejoinTicks: 20,
			WindowTicks: 15, SlowTicks: 20, InputQueue: 4, Interest: len(script)%2 == 1})}
		s.honest = s.connect()
		s.data(s.honest, gameclient.AppendJoin(nil, 0, gameclient.Token{}))
		w, err := gameclient.ParseWelcome(s.honest.frames()[0][1:])
		if err != nil {
			t.Fatal(err)
		}
		s.id = w.ID
		next := func() (b byte) {
			if len(script) > 0 {
				b, script = script[0], script[1:]
			}
			return b
		}
		for steps := 0; len(script) > 0 && steps < 400; steps++ {
			op := next()
			var c *fuzzConn
			if len(s.conns) > 1 {
				c = s.conns[1+int(op>>4)%(len(s.conns)-1)]
			}
			if c == nil || op&15 == 0 {
				if len(s.conns) < 16 {
					s.connect()
				}
				continue
			}
			switch op & 15 {
			case 1:
				s.data(c, gameclient.AppendJoin(nil, next()&1, gameclient.Token{}))
			case 2: // back, on this connection, with somebody's token
				slot := int(next()) % len(s.g.seats)
				if token := s.g.seats[slot].token; s.g.seats[slot].client == nil || s.g.seats[slot].client.conn != engine.Conn(s.honest) {
					s.data(c, gameclient.AppendJoin(nil, 0, gameclient.Token(token)))
				}
			case 3:
				s.data(c, gameclient.AppendInput(nil, uint32(next()), int16(next())<<8|int16(next()), int16(next())))
			case 4:
				s.data(c, gameclient.AppendInput(nil, uint32(next())<<24, 1, 1))
			case 5:
				s.data(c, gameclient.AppendAck(nil, s.g.tick-uint32(next())%40))
			case 6:
				s.data(c, bytes.Repeat(gameclient.AppendPing(nil, 1), 1<<(next()%14)))
			case 7:
				s.data(c, gameclient.AppendLeave(nil))
			case 8:
				s.tick()
			case 9:
				c.stalled = true
			case 10:
				c.stalled, c.queued, c.got = false, 0, nil
			case 11: // raw bytes, often a part of a frame
				n := int(next()) % 32
				raw := script[:min(n, len(script))]
				script = script[len(raw):]
				s.data(c, raw)
			case 12:
				s.data(c, gameclient.AppendInput(nil, 1, 1, 1)[:1+next()%12])
			case 13:
				s.data(c, []byte{next(), next(), next(), next()})
			case 14:
				if !c.gone {
					c.closed, c.gone = true, true
					s.g.OnClose(c, errors.New("reset"))
				}
			case 15:
				for range next() % 50 {
					if s.g.tick < 300 { // a session stays short, so that there are many
						s.tick()
					}
				}
			}
			s.check()
		}
		s.tick()
		s.g.Shutdown()
		s.reap()
		s.check()
	})
}
