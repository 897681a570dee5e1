// Package gametest plays what is around the game and the loop of lesson 07, so that
// their tests are exact and take no wall time: connections that take as much as they
// are told to, an engine that only lets time pass, and a clock that stands still.
package gametest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"unsafe"

	"iolab/checker/gameclient"
	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// Game is the reader's game, as far as a room needs it.
type Game interface {
	engine.Handler
	Step()
	Broadcast()
	Shutdown()
}

// Room is a game and its players, without an engine: what they send is handed to the
// game by hand, and time passes when [Room.Tick] is called.
type Room struct {
	*labtest.Lab
	Game  Game
	conns []*Player
	seen  int // how many have been made
}

// NewRoom makes the game with newGame, as all its calls are made, on the lab's loop.
func NewRoom(t testing.TB, newGame func() Game) *Room {
	t.Helper()
	r := &Room{Lab: labtest.Part(t)}
	r.Do(func() { r.Game = newGame() })
	return r
}

// Do runs f on the goroutine that the game belongs to.
func (r *Room) Do(f func()) {
	r.T().Helper()
	r.Lab.Do(func(engine.Engine) { f() })
}

// Wrong ends the test: what should have been, and is not, and the cause in the table of
// causes.
func (r *Room) Wrong(cause, format string, args ...any) {
	r.T().Helper()
	r.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: cause, Problem: fmt.Sprintf(format, args...)})
}

// Check is Wrong unless ok.
func (r *Room) Check(ok bool, cause, format string, args ...any) {
	r.T().Helper()
	if !ok {
		r.Wrong(cause, format, args...)
	}
}

// Tick makes n ticks, and a broadcast after each.
func (r *Room) Tick(n int) {
	r.T().Helper()
	r.Did("%s", Count(n, "tick"))
	r.TickQuietly(n)
}

// TickQuietly is Tick without a line in the story.
func (r *Room) TickQuietly(n int) {
	r.T().Helper()
	r.Do(func() {
		for range n {
			r.Game.Step()
			r.reap()
			r.Game.Broadcast()
			r.reap()
		}
	})
}

// Step makes n ticks without a broadcast.
func (r *Room) Step(n int) {
	r.T().Helper()
	r.Did("%s", Count(n, "tick"))
	r.Do(func() {
		for range n {
			r.Game.Step()
			r.reap()
		}
	})
}

// reap makes the last callback of the connections that the game has closed, as an
// engine does when no other callback is running.
func (r *Room) reap() {
	for _, p := range r.conns {
		if p.Closed && !p.gone {
			p.gone = true
			r.Game.OnClose(p, nil)
		}
	}
}

// Player is a client of a room, with its connection: an [engine.Conn] that keeps what
// it is given.
type Player struct {
	engine.Identity
	room *Room
	Name string

	// Stalled is a peer that reads nothing: what is sent to it stays in the queue.
	Stalled bool
	// Closed and Finished say that the game has called Close, or CloseWrite.
	Closed, Finished bool
	// From is where the bytes lay that were given to the last Send.
	From *byte
	// Sends counts the calls of Send.
	Sends int

	Welcome gameclient.WelcomeBody
	View    gameclient.View
	Head    gameclient.SnapshotHead // of the last snapshot that was read
	Last    []byte                  // its body

	sent     []byte // given to Send and not yet read
	queued   int
	gone     bool
	sequence uint32
	limit    int
	forgets  bool
}

// Queued implements [engine.Conn].
func (p *Player) Queued() int { return p.queued }

// Send implements [engine.Conn].
func (p *Player) Send(b []byte) error {
	if p.Closed || p.Finished {
		return engine.ErrClosed
	}
	if p.limit > 0 && p.queued+len(b) > p.limit {
		return engine.ErrBackpressure
	}
	p.Sends++
	p.From = unsafe.SliceData(b)
	if !p.forgets {
		p.sent = append(p.sent, b...)
	}
	if p.Stalled {
		p.queued += len(b)
	}
	return nil
}

// CloseWrite implements [engine.Conn].
func (p *Player) CloseWrite() error { p.Finished = true; return nil }

// Close implements [engine.Conn].
func (p *Player) Close() error { p.Closed = true; return nil }

// Connect is a new connection.
func (r *Room) Connect() *Player {
	r.T().Helper()
	p := r.connect()
	r.Did("%s connects", p.Name)
	return p
}

func (r *Room) connect() *Player {
	r.T().Helper()
	r.seen++
	p := &Player{room: r, Name: fmt.Sprintf("client %d", r.seen),
		Identity: engine.NewIdentity(uint64(r.seen), netip.AddrPortFrom(netip.IPv6Loopback(), uint16(r.seen)))}
	r.Do(func() {
		r.conns = append(r.conns, p)
		r.Game.OnOpen(p)
		r.reap()
	})
	return p
}

// Join is a new connection that has joined as a new player.
func (r *Room) Join() *Player {
	r.T().Helper()
	r.Did("a player joins")
	return r.join()
}

func (r *Room) join() *Player {
	r.T().Helper()
	p := r.connect()
	p.enter(0, gameclient.Token{})
	r.Got("%s is player %d", p.Name, p.Welcome.ID)
	return p
}

// JoinMany is Join, n times.
func (r *Room) JoinMany(n int) []*Player {
	r.T().Helper()
	r.Did("%d players join", n)
	players := make([]*Player, n)
	for i := range players {
		players[i] = r.join()
	}
	return players
}

// Enter sends a join and wants a welcome.
func (p *Player) Enter(flags byte, token gameclient.Token) {
	r := p.room
	r.T().Helper()
	r.Did("%s sends a join%s", p.Name, describeJoin(flags, token))
	p.enter(flags, token)
	r.Got("welcome, player %d", p.Welcome.ID)
}

func (p *Player) enter(flags byte, token gameclient.Token) {
	r := p.room
	r.T().Helper()
	p.SayQuietly(gameclient.AppendJoin(nil, flags, token))
	frames := p.Read()
	r.Check(len(frames) > 0, "no-welcome", "%s should be sent a welcome, but is sent nothing", p.Name)
	r.Check(frames[0].Type == gameclient.Welcome, "no-welcome", "%s should be sent a welcome, but is sent %v", p.Name, frames[0])
	w, err := gameclient.ParseWelcome(frames[0].Body)
	r.Check(err == nil, "no-welcome", "the welcome is not as the table of frames has it: %v", err)
	p.Welcome, p.sequence = w, w.Sequence
}

func describeJoin(flags byte, token gameclient.Token) string {
	var s string
	if flags&gameclient.Spectator != 0 {
		s += ", as a spectator"
	}
	if token != (gameclient.Token{}) {
		s += ", with a token"
	}
	return s
}

// Say hands bytes to the game as they come from the client.
func (p *Player) Say(frames []byte, what string, args ...any) {
	p.room.T().Helper()
	p.room.Did("%s sends %s", p.Name, fmt.Sprintf(what, args...))
	p.SayQuietly(frames)
}

// SayQuietly is Say without a line in the story.
func (p *Player) SayQuietly(frames []byte) {
	p.room.T().Helper()
	p.room.Do(func() {
		if !p.Closed {
			p.room.Game.OnData(p, frames)
			p.room.reap()
		}
	})
}

// Move sends the next input.
func (p *Player) Move(dx, dy int16) {
	p.room.T().Helper()
	p.sequence++
	p.SayQuietly(gameclient.AppendInput(nil, p.sequence, dx, dy))
}

// Input sends an input of any number.
func (p *Player) Input(sequence uint32, dx, dy int16) {
	p.room.T().Helper()
	p.Say(gameclient.AppendInput(nil, sequence, dx, dy), "input %d: %d, %d", sequence, dx, dy)
}

// Ack acknowledges a snapshot.
func (p *Player) Ack(tick uint32) {
	p.room.T().Helper()
	p.Say(gameclient.AppendAck(nil, tick), "the acknowledgement of tick %d", tick)
}

// Disconnect is the end of the client's connection, with err for OnClose.
func (p *Player) Disconnect(err error) {
	p.room.T().Helper()
	p.room.Did("%s is gone", p.Name)
	p.room.Do(func() {
		if !p.gone {
			p.Closed, p.gone = true, true
			p.room.Game.OnClose(p, err)
			p.room.reap()
		}
	})
}

// Drain makes the kernel take what is queued.
func (p *Player) Drain() { p.Stalled, p.queued = false, 0 }

// Limit makes Send return ErrBackpressure when more bytes than that would be queued.
func (p *Player) Limit(bytes int) { p.limit = bytes }

// Pending is the number of bytes that the client has been sent and has not read.
func (p *Player) Pending() int { return len(p.sent) }

// Frame is one frame of the server's.
type Frame struct {
	Type byte
	Body []byte
}

var names = map[byte]string{gameclient.Welcome: "welcome", gameclient.Snapshot: "snapshot", gameclient.Pong: "pong", gameclient.Error: "error"}

func (f Frame) String() string {
	name, ok := names[f.Type]
	if !ok {
		return fmt.Sprintf("a frame of type %d, which no server sends", f.Type)
	}
	if f.Type == gameclient.Error && len(f.Body) > 0 {
		return fmt.Sprintf("error %d, %q", f.Body[0], f.Body[1:])
	}
	return fmt.Sprintf("%s, %d bytes", name, len(f.Body))
}

// Read returns the frames that the client has been sent since it last read.
func (p *Player) Read() (frames []Frame) {
	p.room.T().Helper()
	b := p.sent
	p.sent = nil
	for len(b) > 0 {
		n := -1
		if len(b) >= 4 {
			n = int(binary.BigEndian.Uint32(b))
		}
		if n < 1 || 4+n > len(b) {
			p.room.Wrong("frame-cut", "what %s is sent should be whole frames, but %d bytes are left that are none", p.Name, len(b))
		}
		f := Frame{b[4], b[5 : 4+n]}
		if names[f.Type] == "" {
			p.room.Wrong("frame-cut", "what %s is sent should be frames that the table has, but one is of the type %d", p.Name, f.Type)
		}
		frames = append(frames, f)
		b = b[4+n:]
	}
	return frames
}

// Snapshots reads what the client has been sent, applies the snapshots to its view, and
// returns how many there were.
func (p *Player) Snapshots() (n int) {
	p.room.T().Helper()
	for _, f := range p.Read() {
		if f.Type != gameclient.Snapshot {
			continue
		}
		h, err := p.View.Apply(f.Body)
		p.Head, p.Last = h, f.Body
		if err != nil {
			p.room.Wrong(viewCause(err), "%s should be able to make the world of each snapshot, but: %v", p.Name, err)
		}
		n++
	}
	return n
}

func viewCause(err error) string {
	var base *gameclient.BaseError
	var gone *gameclient.GoneError
	switch {
	case errors.As(err, &base):
		return "delta-against-unknown"
	case errors.As(err, &gone):
		return "gone-twice"
	}
	return "wrong-snapshot"
}

// Refused tells whether the client has been sent an error with this code, and the end of
// data after it.
func (p *Player) Refused(code byte) bool {
	p.room.T().Helper()
	for _, f := range p.Read() {
		if f.Type == gameclient.Error && len(f.Body) > 0 && f.Body[0] == code {
			return p.Finished
		}
	}
	return false
}

// Forget makes the client forget what it has been sent, and take what comes without
// keeping it: for measuring.
func (p *Player) Forget() { p.sent, p.forgets = nil, true }
