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

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{rand.Read, slices.Sort[[]int]}

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
//
// TODO step 4: make the client: no player yet (slot 0 is one, so -1), a full allowance (burst),
// heard of at this tick. Note it in g.clients and in the connection (SetState).
func (g *Game) OnOpen(conn engine.Conn) {
	panic(engine.NotImplemented("07.4", "Game.OnOpen"))
}

// burst is the most that an allowance can grow to: what a client may have sent while
// the network or the server itself stood still.
func (g *Game) burst() int { return g.cfg.FramesPerTick * g.cfg.Rate * 10 }

// OnData implements [engine.Handler].
//
// TODO step 4: take the frames from the stream, one after the other, until there is none, or the client is
// refused: for what is not a frame, for what handle does not take, or for too many of them.
func (g *Game) OnData(conn engine.Conn, data []byte) {
	panic(engine.NotImplemented("07.4", "Game.OnData"))
}

// handle does what a frame asks for. It returns false if it is not one, or if this is
// not its time.
//
// TODO step 4: a join is the first frame and comes once; the others come after it. Parse the body, and do
// what the frame is for. A ping gets its pong by answer, unless there is a backlog (step 7).
func (g *Game) handle(c *client, t FrameType, body []byte) (ok bool) {
	panic(engine.NotImplemented("07.4", "Game.handle"))
}

// TODO step 4: refuse another version; a spectator gets no player; a token goes to rejoin (step
// 10); who is new gets a place in the world and a token. From this tick on it is sent snapshots
// and owes acknowledgements (sentTick, confirmed). Then the welcome, by answer.
func (g *Game) join(c *client, j Join) {
	panic(engine.NotImplemented("07.4", "Game.join"))
}

// answer sends p, which is no snapshot.
func (c *client) answer(p []byte) {
	c.replied += len(p)
	_ = c.conn.Send(p) // an error is the engine's to report: OnClose comes
}

// backlog says whether c has not yet taken all that it was sent before. What it was only
// just answered does not count: a completion engine hands that over with its next Poll.
func (c *client) backlog() bool { return c.conn.Queued() > c.replied }

// rejoin gives c the player of that token. Another connection that has it is an old one,
// of which the server has not yet heard that it is dead.
//
// TODO step 10: the player of that token, if there is one, is c's. An older connection that has it is refused.
func (g *Game) rejoin(c *client, token Token) bool {
	panic(engine.NotImplemented("07.10", "Game.rejoin"))
}

// sit gives the player of slot to c.
//
// TODO step 4: c plays, and the seat knows it.
func (g *Game) sit(c *client, slot int32) {
	panic(engine.NotImplemented("07.4", "Game.sit"))
}

// unseat takes the player from c; it stays in the world for a while.
//
// TODO step 4: if c has a player: the seat is empty from now on, and what was queued for it is void.
func (g *Game) unseat(c *client) {
	panic(engine.NotImplemented("07.4", "Game.unseat"))
}

// input queues in for a later tick. The queue is in the order of sequence numbers,
// whatever the order of arrival, and bounded.
//
// TODO step 5: refuse what is too fast or too far ahead, forget what is stale, drop what the queue has no
// room for, each with its counter; else put it in its place.
func (g *Game) input(c *client, in Input) {
	panic(engine.NotImplemented("07.5", "Game.input"))
}

// leave takes the player out of the world at once.
//
// TODO step 4: take the player out of the world, count it, and finish the connection.
func (g *Game) leave(c *client) {
	panic(engine.NotImplemented("07.4", "Game.leave"))
}

// remove takes the player of slot out of the world.
//
// TODO step 4: the world, the token and the seat forget the player.
func (g *Game) remove(slot int32) {
	panic(engine.NotImplemented("07.4", "Game.remove"))
}

// refuse tells c why it is not served, and finishes it.
//
// TODO step 4: once: count it, send the error frame, and finish the connection.
func (g *Game) refuse(c *client, code ErrorCode, text string) {
	panic(engine.NotImplemented("07.4", "Game.refuse"))
}

// finish ends the output to c: what it was sent arrives, then the end of data. If it
// does not close in its turn, expire does.
//
// TODO step 4: the player stays where it is; the client is leaving; the output ends after what was sent.
func (g *Game) finish(c *client) {
	panic(engine.NotImplemented("07.4", "Game.finish"))
}

// OnClose implements [engine.Handler].
//
// TODO step 4: the player stays for a while; the client goes from g.clients, in whose place the last comes.
func (g *Game) OnClose(conn engine.Conn, _ error) {
	panic(engine.NotImplemented("07.4", "Game.OnClose"))
}

// Step makes one tick: inputs, then everything that follows from the passing of time.
// It implements [Simulation].
//
// TODO step 5: the next tick: inputs, allowances, and what has taken too long.
func (g *Game) Step() {
	panic(engine.NotImplemented("07.5", "Game.Step"))
}

// applyInputs makes one step of each player for whom there is an input, in the order of
// the slots: nothing depends on whose bytes came first. One a tick, so that a client
// that sends more gets nowhere faster.
//
// TODO step 5: the first input of each seat's queue, in the order of the slots.
func (g *Game) applyInputs() {
	panic(engine.NotImplemented("07.5", "Game.applyInputs"))
}

// refill lets every client send some more frames.
//
// TODO step 5: some frames more for every client, up to burst.
func (g *Game) refill() {
	panic(engine.NotImplemented("07.5", "Game.refill"))
}

// expire ends what has taken too long.
//
// TODO step 10: refuse who was silent for too long, close who was refused and does not go, and take out of
// the world who does not come back.
func (g *Game) expire() {
	for _, c := range g.clients {
		if int(g.tick-c.heard) > g.cfg.JoinTicks && (c.phase == joining || int(g.tick-c.heard) > g.cfg.IdleTicks) {
			panic(engine.NotImplemented("07.10", "Game.expire"))
		}
	}
}

// Broadcast sends every client the present state, once, however many ticks have passed
// since the last time. It implements [Simulation].
//
// TODO step 6: keep a copy of the world in the history, forget the last broadcast's frames, and send to all
// who have joined. From here on what a client is answered counts anew (client.replied).
func (g *Game) Broadcast() {
	panic(engine.NotImplemented("07.6", "Game.Broadcast"))
}

// send sends c the state now, unless it is slow.
//
// TODO step 6: who is slow is skipped (step 7). The frame of c's view is in g.frames, or is made now; send it,
// and note in c what was sent, and in the stats. Who cannot be sent it is skipped too.
func (g *Game) send(c *client, now *World) {
	panic(engine.NotImplemented("07.6", "Game.send"))
}

// isSlow says whether c has not yet taken all of an earlier snapshot, or has
// acknowledged none for a while. What it is sent now would be old when it arrives.
//
// TODO step 7: has c a backlog, or does it lag behind (step 8)?
func (g *Game) isSlow(c *client) bool {
	if c.backlog() {
		panic(engine.NotImplemented("07.7", "Game.isSlow"))
	}
	return false
}

// skip lets a slow client wait: it gets the state of the time when it can take it, and
// none of those before. What is on its way already is never cut. One that is slow for too
// long is dropped: closed at once, since an error would wait behind what it does not take.
//
// TODO step 7: count it, and close the connection if the last snapshot that it was sent is too long ago.
func (g *Game) skip(c *client) {
	panic(engine.NotImplemented("07.7", "Game.skip"))
}

// lagsBehind says whether something that c was sent has not been acknowledged for a while.
// An empty queue says only that the kernel has taken everything, and a kernel takes
// megabytes.
//
// TODO step 8: has c something that it has not acknowledged, and acknowledged nothing for WindowTicks?
func (g *Game) lagsBehind(c *client) bool {
	if int(g.tick-c.confirmed) > g.cfg.WindowTicks {
		panic(engine.NotImplemented("07.8", "Game.lagsBehind"))
	}
	return false
}

// viewOf is what c is sent at this tick.
//
// TODO step 6: a spectator sees everything, in full. A player's view is that of cellOf and baseOf, and of the
// cell that the baseline was sent for.
func (g *Game) viewOf(c *client) view {
	panic(engine.NotImplemented("07.6", "Game.viewOf"))
}

// cellOf is the cell around which c sees the world, -1 if it sees everything.
//
// TODO step 9: the cell that c's player is in, if there is interest management.
func (g *Game) cellOf(c *client) int32 {
	if g.cfg.Interest {
		panic(engine.NotImplemented("07.9", "Game.cellOf"))
	}
	return -1
}

// baseOf is the tick of the snapshot against which c is sent a delta: the last that it has
// acknowledged. 0 if that is no longer known: then c is sent everything.
//
// TODO step 8: the last that c has acknowledged, if the history still has that tick, and
// Config.FullOnly does not forbid deltas.
func (g *Game) baseOf(c *client) uint32 {
	if c.acked != 0 {
		panic(engine.NotImplemented("07.8", "Game.baseOf"))
	}
	return 0
}

// encode makes the snapshot of v, for all who have this view.
//
// TODO step 6: append the snapshot to g.buf and note where it lies. Its baseline is in the history.
func (g *Game) encode(now *World, v view) span {
	panic(engine.NotImplemented("07.6", "Game.encode"))
}

// ack notes that c has the snapshot of tick. One that it was not sent, or that is too
// old by now, is no baseline.
//
// TODO step 8: two notes, each only if tick is newer. c.confirmed: any tick up to the last that
// was sent, however old. c.acked: one that c.sent still has, since it is to be a baseline.
func (g *Game) ack(c *client, tick uint32) {
	panic(engine.NotImplemented("07.8", "Game.ack"))
}

// Shutdown tells every client that the server ends.
//
// TODO step 10: refuse everybody, with ErrorShutdown.
func (g *Game) Shutdown() {
	panic(engine.NotImplemented("07.10", "Game.Shutdown"))
}
