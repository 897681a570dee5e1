// Package gameloop is lesson 07: an authoritative game server at 60 ticks a second, on
// any engine of the lessons before.
//
// [Game] is an [engine.Handler]: it takes the players' inputs, moves the [World], and
// sends what has become of it. [Loop] calls Poll with the time that is left to the next
// tick. Neither knows what waits for the sockets.
package gameloop

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"

	"iolab/lessons/engine"
)

// Config configures a game. The zero value of each field works.
type Config struct {
	Rate          int    // ticks a second. Default 60
	Width, Height int    // of the world, in tiles. Default 128 each
	Seed          uint64 // of the walls and the places where players begin
	MaxPlayers    int    // default 1000, at most [MaxPlayers]

	// Interest limits what a player is sent to what is near: the cell of the spatial
	// grid that the player is in, and the eight around it.
	Interest bool

	// FullOnly sends every snapshot in full, never a delta: for measuring what deltas save.
	FullOnly bool

	// InputQueue is the number of inputs of one player that may wait for their tick;
	// more are dropped. Default 16.
	InputQueue int

	// FramesPerTick is the number of frames a client may send in one tick, on average
	// over ten seconds; the one who sends more is disconnected. Default 4: an input, an
	// acknowledgement, and some reserve.
	FramesPerTick int

	// The rest are times in ticks, so that the game needs no clock: how long a client
	// may be silent (default ten seconds), how long a connection may take to join, and
	// one that was refused to leave (three), how long a player whose connection broke
	// stays in the world (ten), for how long a client may have snapshots that it has not
	// acknowledged before it is sent no more (one), and how long after that it is
	// dropped (three).
	IdleTicks, JoinTicks, RejoinTicks, WindowTicks, SlowTicks int
}

// WithDefaults returns cfg with every zero field replaced by its default.
func (cfg Config) WithDefaults() Config {
	cfg.Rate = cmp.Or(cfg.Rate, 60)
	cfg.Width, cfg.Height = cmp.Or(cfg.Width, 128), cmp.Or(cfg.Height, 128)
	cfg.MaxPlayers = cmp.Or(cfg.MaxPlayers, 1000)
	cfg.InputQueue = cmp.Or(cfg.InputQueue, 16)
	cfg.FramesPerTick = cmp.Or(cfg.FramesPerTick, 4)
	cfg.IdleTicks = cmp.Or(cfg.IdleTicks, 10*cfg.Rate)
	cfg.JoinTicks = cmp.Or(cfg.JoinTicks, 3*cfg.Rate)
	cfg.RejoinTicks = cmp.Or(cfg.RejoinTicks, 10*cfg.Rate)
	cfg.WindowTicks = cmp.Or(cfg.WindowTicks, cfg.Rate)
	cfg.SlowTicks = cmp.Or(cfg.SlowTicks, 3*cfg.Rate)
	return cfg
}

// Check says what is wrong with cfg.
func (cfg Config) Check() error {
	cfg = cfg.WithDefaults()
	switch {
	case cfg.Rate < 1 || cfg.Rate > 1000:
		return fmt.Errorf("a rate of %d: want 1 to 1000 ticks a second", cfg.Rate)
	case min(cfg.Width, cfg.Height) < 3 || max(cfg.Width, cfg.Height) > 4096:
		return fmt.Errorf("a world of %d by %d tiles: want 3 to 4096", cfg.Width, cfg.Height)
	case cfg.MaxPlayers < 1 || cfg.MaxPlayers > MaxPlayers:
		return fmt.Errorf("room for %d players: want 1 to %d", cfg.MaxPlayers, MaxPlayers)
	}
	return nil
}

// History is the number of snapshots that are kept as baselines, here and at the client:
// that of tick t in place t%History. A client that acknowledges later than that is sent
// a full one.
const History = 32

// maxInputAhead is how far a sequence number may be ahead of the last that was applied.
const maxInputAhead = 256

// Stats are a game's counters since New, plain numbers that belong to the loop.
type Stats struct {
	Tick       uint32
	Players    int // in the world, connected or not
	Spectators int
	Clients    int // connections, joined or not

	Joins, Rejoins     uint64 // players that came, and came back
	Leaves             uint64 // clients that said so, spectators too
	Refused            uint64 // clients that were sent an error
	Idle, Slow, Floods uint64 // clients that were dropped, and why
	BadFrames          uint64 // clients that were dropped for what they sent

	Inputs         uint64 // applied
	InputsRejected uint64 // too fast, or from too far ahead
	InputsStale    uint64 // already applied, or sent twice
	InputsDropped  uint64 // the player's queue was full
	InputsQueued   int    // waiting now, all players together
	LongestQueue   int    // the longest that a player's queue has been

	Snapshots   uint64 // sent
	Full        uint64 // of these, in full
	Replaced    uint64 // not sent because the client was slow: a later one takes its place
	Encoded     uint64 // made: each is sent to all clients with the same view
	BytesQueued uint64 // of snapshots given to Send
}

// Game is the service: an [engine.Handler], and a [Simulation] for a [Loop]. It belongs
// to the goroutine of the loop.
type Game struct {
	cfg     Config
	world   *World
	tick    uint32
	clients []*client
	seats   []seat // by slot of the world
	tokens  map[Token]int32

	history [History]baseline
	frames  map[view]span // of this broadcast
	buf     []byte        // what they lie in
	encoder encoder
	reply   []byte // a frame to one client

	stats Stats
}

// A seat is a player's place, which outlives the connection for a while.
type seat struct {
	token  Token
	client *client // nil: the connection is gone
	left   uint32  // the tick when it went
	inputs []Input // by sequence number
}

// A client is a connection.
type client struct {
	conn      engine.Conn
	index     int // in Game.clients
	phase     phase
	slot      int32 // of the player
	decoder   Decoder
	allowance int    // frames it may still send
	replied   int    // bytes it was sent since the last broadcast, snapshots aside
	heard     uint32 // the tick of its last frame; of the connection's begin, before it has joined, or of its end

	sent      [History]sent
	sentTick  uint32 // the last that was sent
	acked     uint32 // the last that it has; 0: none
	confirmed uint32 // the same, but counted from the tick it joined, and however old
}

type phase int

const (
	joining phase = iota
	playing
	spectating
	leaving // was sent an error, and the end of data
)

// sent is a snapshot that a client was sent, and of which cell.
type sent struct {
	tick uint32
	cell int32
}

type baseline struct {
	tick  uint32
	world *World
}

// span is a part of Game.buf.
type span struct{ from, to int }

// New returns a game with nobody in it. cfg has been checked.
func New(cfg Config) *Game {
	cfg = cfg.WithDefaults()
	g := &Game{
		cfg:    cfg,
		world:  NewWorld(cfg.Width, cfg.Height, cfg.Seed, cfg.MaxPlayers),
		seats:  make([]seat, cfg.MaxPlayers),
		tokens: map[Token]int32{},
		frames: map[view]span{},
	}
	for i := range g.history {
		g.history[i].world = g.world.copy()
	}
	return g
}

// World is the game's world, to look at.
func (g *Game) World() *World { return g.world }

// Stats is a copy of the game's counters.
func (g *Game) Stats() Stats {
	s := g.stats
	s.Tick, s.Clients = g.tick, len(g.clients)
	s.Players, s.Spectators = len(g.tokens), 0
	for _, c := range g.clients {
		if c.phase == spectating {
			s.Spectators++
		}
	}
	for i := range g.seats {
		s.InputsQueued += len(g.seats[i].inputs)
	}
	return s
}

// OnOpen implements [engine.Handler].
func (g *Game) OnOpen(conn engine.Conn) {
	c := &client{conn: conn, index: len(g.clients), slot: -1, allowance: g.burst(), heard: g.tick}
	conn.SetState(c)
	g.clients = append(g.clients, c)
}

// burst is the most that an allowance can grow to: what a client may have sent while
// the network or the server itself stood still.
func (g *Game) burst() int { return g.cfg.FramesPerTick * g.cfg.Rate * 10 }

// OnData implements [engine.Handler].
func (g *Game) OnData(conn engine.Conn, data []byte) {
	c := conn.State().(*client)
	for c.phase != leaving {
		t, body, rest, err := c.decoder.Next(data)
		if err == nil && t == 0 {
			return
		}
		data = rest
		c.allowance--
		switch {
		case err != nil || !g.handle(c, t, body):
			g.stats.BadFrames++
			g.refuse(c, ErrorProtocol, "this is not a frame of the protocol, or not at this point")
		case c.allowance < 0:
			g.stats.Floods++
			g.refuse(c, ErrorFlood, "too many frames")
		}
	}
}

// handle does what a frame asks for. It returns false if it is not one, or if this is
// not its time.
func (g *Game) handle(c *client, t FrameType, body []byte) (ok bool) {
	if (t == FrameJoin) != (c.phase == joining) {
		return false
	}
	c.heard = g.tick
	switch t {
	case FrameJoin:
		j, ok := parseJoin(body)
		if ok {
			g.join(c, j)
		}
		return ok
	case FrameInput:
		in, ok := parseInput(body)
		if ok && c.phase == playing {
			g.input(c, in)
		}
		return ok && c.phase == playing
	case FrameAck:
		tick, ok := parseAck(body)
		if ok {
			g.ack(c, tick)
		}
		return ok
	case FramePing:
		nonce, ok := parsePing(body)
		if ok && !c.backlog() { // a pong that comes late says nothing
			g.reply = appendPong(g.reply[:0], nonce, g.tick)
			c.answer(g.reply)
		}
		return ok
	case FrameLeave:
		if len(body) == 0 {
			g.leave(c)
		}
		return len(body) == 0
	}
	return false
}

func (g *Game) join(c *client, j Join) {
	switch {
	case j.Version != Version:
		g.refuse(c, ErrorVersion, "this server speaks version 1 of the protocol")
		return
	case j.Flags&JoinSpectator != 0:
		c.phase = spectating
	case j.Token != Token{}:
		if !g.rejoin(c, j.Token) {
			g.refuse(c, ErrorToken, "no such player: join without a token")
			return
		}
	default:
		slot, ok := g.world.Spawn()
		if !ok {
			g.refuse(c, ErrorFull, "the server is full")
			return
		}
		var token Token
		_, _ = rand.Read(token[:]) // never fails
		g.tokens[token] = slot
		g.seats[slot].token = token
		g.sit(c, slot)
		g.stats.Joins++
	}
	c.sentTick, c.confirmed = g.tick, g.tick
	w := Welcome{Tick: g.tick, Rate: g.cfg.Rate, Width: g.cfg.Width, Height: g.cfg.Height, Seed: g.cfg.Seed}
	if c.phase == playing {
		p := g.world.Players[c.slot]
		w.ID, w.Token, w.Sequence = p.ID, g.seats[c.slot].token, p.Sequence
	}
	g.reply = appendWelcome(g.reply[:0], w)
	c.answer(g.reply)
}

// answer sends p, which is no snapshot.
func (c *client) answer(p []byte) {
	c.replied += len(p)
	// An error is a connection that ends, and OnClose comes; or a queue at its hard limit,
	// and then Tick sees a client that has not read for long.
	_ = c.conn.Send(p)
}

// backlog says whether c has not yet taken all that it was sent before. What it was only
// just answered does not count: a completion engine hands that over with its next Poll.
func (c *client) backlog() bool { return c.conn.Queued() > c.replied }

// rejoin gives c the player of that token. Another connection that has it is an old one,
// of which the server has not yet heard that it is dead.
func (g *Game) rejoin(c *client, token Token) bool {
	slot, ok := g.tokens[token]
	if !ok {
		return false
	}
	if old := g.seats[slot].client; old != nil {
		g.refuse(old, ErrorReplaced, "the player has joined again on another connection")
	}
	g.sit(c, slot)
	g.stats.Rejoins++
	return true
}

// sit gives the player of slot to c.
func (g *Game) sit(c *client, slot int32) {
	c.phase, c.slot = playing, slot
	g.seats[slot].client = c
}

// unseat takes the player from c; it stays in the world for a while.
func (g *Game) unseat(c *client) {
	if c.slot < 0 {
		return
	}
	s := &g.seats[c.slot]
	s.client, s.left, s.inputs = nil, g.tick, s.inputs[:0]
	c.slot = -1
}

// input queues in for a later tick. The queue is in the order of sequence numbers,
// whatever the order of arrival, and bounded.
func (g *Game) input(c *client, in Input) {
	s := &g.seats[c.slot]
	applied := g.world.Players[c.slot].Sequence
	dx, dy := int64(in.DX), int64(in.DY) // the squares of 16 bits need more than 31
	switch {
	case dx*dx+dy*dy > MaxSpeed*MaxSpeed, in.Sequence > applied+maxInputAhead:
		g.stats.InputsRejected++
		return
	case in.Sequence <= applied:
		g.stats.InputsStale++
		return
	}
	at, twice := slices.BinarySearchFunc(s.inputs, in.Sequence, func(in Input, sequence uint32) int {
		return cmp.Compare(in.Sequence, sequence)
	})
	switch {
	case twice:
		g.stats.InputsStale++
	case len(s.inputs) >= g.cfg.InputQueue:
		g.stats.InputsDropped++
	default:
		s.inputs = slices.Insert(s.inputs, at, in)
		g.stats.LongestQueue = max(g.stats.LongestQueue, len(s.inputs))
	}
}

// leave takes the player out of the world at once.
func (g *Game) leave(c *client) {
	if c.slot >= 0 {
		g.remove(c.slot)
	}
	g.stats.Leaves++
	g.finish(c)
}

// remove takes the player of slot out of the world.
func (g *Game) remove(slot int32) {
	s := &g.seats[slot]
	if s.client != nil {
		s.client.slot = -1
	}
	delete(g.tokens, s.token)
	*s = seat{inputs: s.inputs[:0]}
	g.world.Remove(slot)
}

// refuse tells c why it is not served, and finishes it.
func (g *Game) refuse(c *client, code ErrorCode, text string) {
	if c.phase == leaving {
		return
	}
	g.stats.Refused++
	g.reply = appendError(g.reply[:0], code, text)
	c.answer(g.reply)
	g.finish(c)
}

// finish ends the output to c: what it was sent arrives, then the end of data. If it
// does not close in its turn, expire does.
func (g *Game) finish(c *client) {
	g.unseat(c)
	c.phase, c.heard = leaving, g.tick
	_ = c.conn.CloseWrite()
}

// OnClose implements [engine.Handler].
func (g *Game) OnClose(conn engine.Conn, _ error) {
	c := conn.State().(*client)
	g.unseat(c)
	last := g.clients[len(g.clients)-1]
	g.clients[c.index], last.index = last, c.index
	g.clients[len(g.clients)-1] = nil
	g.clients = g.clients[:len(g.clients)-1]
}

// Step makes one tick: inputs, then everything that follows from the passing of time.
// It implements [Simulation].
func (g *Game) Step() {
	g.tick++
	g.applyInputs()
	g.refill()
	g.expire()
}

// applyInputs makes one step of each player for whom there is an input, in the order of
// the slots: nothing depends on whose bytes came first. One a tick, so that a client
// that sends more gets nowhere faster.
func (g *Game) applyInputs() {
	for slot := range g.seats {
		s := &g.seats[slot]
		if len(s.inputs) == 0 {
			continue
		}
		g.world.Apply(int32(slot), s.inputs[0])
		s.inputs = slices.Delete(s.inputs, 0, 1)
		g.stats.Inputs++
	}
}

// refill lets every client send some more frames.
func (g *Game) refill() {
	for _, c := range g.clients {
		c.allowance = min(c.allowance+g.cfg.FramesPerTick, g.burst())
	}
}

// expire ends what has taken too long.
func (g *Game) expire() {
	for _, c := range g.clients {
		limit := g.cfg.IdleTicks
		if c.phase == joining || c.phase == leaving {
			limit = g.cfg.JoinTicks
		}
		switch {
		case int(g.tick-c.heard) <= limit:
		case c.phase == leaving:
			_ = c.conn.Close()
		default:
			g.stats.Idle++
			g.refuse(c, ErrorIdle, "nothing was heard of you for too long")
		}
	}
	for slot := range g.seats {
		s := &g.seats[slot]
		if s.token != (Token{}) && s.client == nil && int(g.tick-s.left) > g.cfg.RejoinTicks {
			g.remove(int32(slot))
		}
	}
}

// Broadcast sends every client the present state, once, however many ticks have passed
// since the last time. It implements [Simulation].
func (g *Game) Broadcast() {
	now := &g.history[g.tick%History]
	now.tick = g.tick
	now.world.CopyFrom(g.world)
	g.buf = g.buf[:0]
	clear(g.frames)
	for _, c := range g.clients {
		if c.phase == playing || c.phase == spectating {
			g.send(c, now.world)
		}
		c.replied = 0
	}
}

// send sends c the state now, unless it is slow.
func (g *Game) send(c *client, now *World) {
	if g.isSlow(c) {
		g.skip(c)
		return
	}
	v := g.viewOf(c)
	frame, known := g.frames[v]
	if !known {
		frame = g.encode(now, v)
	}
	if c.conn.Send(g.buf[frame.from:frame.to]) != nil {
		g.skip(c) // longer than a connection may queue, perhaps at every tick
		return
	}
	c.sent[g.tick%History] = sent{g.tick, v.cell}
	c.sentTick = g.tick
	g.stats.Snapshots++
	g.stats.BytesQueued += uint64(frame.to - frame.from)
	if v.base == 0 {
		g.stats.Full++
	}
}

// isSlow says whether c has not yet taken all of an earlier snapshot, or has
// acknowledged none for a while. What it is sent now would be old when it arrives.
func (g *Game) isSlow(c *client) bool { return c.backlog() || g.lagsBehind(c) }

// skip lets a slow client wait: it gets the state of the time when it can take it, and
// none of those before. What is on its way already is never cut. One that is slow for too
// long is dropped: closed at once, since an error would wait behind what it does not take.
func (g *Game) skip(c *client) {
	g.stats.Replaced++
	if int(g.tick-c.sentTick) > g.cfg.SlowTicks {
		g.stats.Slow++
		_ = c.conn.Close() // an error frame would only wait behind the rest
	}
}

// lagsBehind says whether something that c was sent has not been acknowledged for a while.
// An empty queue says only that the kernel has taken everything, and a kernel takes
// megabytes.
func (g *Game) lagsBehind(c *client) bool {
	return c.confirmed < c.sentTick && int(g.tick-c.confirmed) > g.cfg.WindowTicks
}

// viewOf is what c is sent at this tick.
func (g *Game) viewOf(c *client) view {
	if c.phase == spectating {
		return view{cell: -1, baseCell: -1}
	}
	v := view{cell: g.cellOf(c), base: g.baseOf(c), baseCell: -1}
	if v.base != 0 {
		v.baseCell = c.sent[v.base%History].cell
	}
	return v
}

// cellOf is the cell around which c sees the world, -1 if it sees everything.
func (g *Game) cellOf(c *client) int32 {
	if !g.cfg.Interest {
		return -1
	}
	return g.world.Cell(c.slot)
}

// baseOf is the tick of the snapshot against which c is sent a delta: the last that it has
// acknowledged. 0 if that is no longer known: then c is sent everything.
func (g *Game) baseOf(c *client) uint32 {
	if base := c.acked; !g.cfg.FullOnly && g.history[base%History].tick == base {
		return base
	}
	return 0
}

// encode makes the snapshot of v, for all who have this view.
func (g *Game) encode(now *World, v view) span {
	var base *World
	if v.base != 0 {
		base = g.history[v.base%History].world
	}
	from := len(g.buf)
	g.buf = g.encoder.appendSnapshot(g.buf, g.tick, now, base, v)
	frame := span{from, len(g.buf)}
	g.frames[v] = frame
	g.stats.Encoded++
	return frame
}

// ack notes that c has the snapshot of tick. One that it was not sent, or that is too
// old by now, is no baseline.
func (g *Game) ack(c *client, tick uint32) {
	if tick > c.confirmed && tick <= c.sentTick {
		c.confirmed = tick
	}
	if tick > c.acked && c.sent[tick%History].tick == tick {
		c.acked = tick
	}
}

// Shutdown tells every client that the server ends.
func (g *Game) Shutdown() {
	for _, c := range g.clients {
		g.refuse(c, ErrorShutdown, "the server is shutting down")
	}
}
