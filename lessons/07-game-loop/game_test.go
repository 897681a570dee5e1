package gameloop_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"iolab/checker/gameclient"
	"iolab/checker/gametest"
	"iolab/checker/labtest"
	gameloop "iolab/lessons/07-game-loop"
	"iolab/lessons/engine"
)

// Most tests play clients and time by hand (checker/gametest), so that they are exact;
// the last ones run the game on every engine, over TCP.

// room is a room with a game as cfg says. Zero fields are filled with small numbers.
func room(t *testing.T, cfg gameloop.Config) *gametest.Room {
	t.Helper()
	if cfg.Width == 0 {
		cfg.Width, cfg.Height = 48, 48
	}
	if cfg.MaxPlayers == 0 {
		cfg.MaxPlayers = 100
	}
	if cfg.Seed == 0 {
		cfg.Seed = 7
	}
	return gametest.NewRoom(t, func() gametest.Game { return gameloop.New(cfg) })
}

// game is the room's game, for what it says of itself.
func game(r *gametest.Room) *gameloop.Game { return r.Game.(*gameloop.Game) }

// stats are its counters.
func stats(r *gametest.Room) (s gameloop.Stats) {
	r.T().Helper()
	r.Do(func() { s = game(r).Stats() })
	return s
}

// state is its players, by ID, and the hash of its world.
func state(r *gametest.Room) (players map[uint32]gameclient.Player, hash uint64) {
	r.T().Helper()
	players = map[uint32]gameclient.Player{}
	r.Do(func() {
		w := game(r).World()
		for _, p := range w.Players {
			if p.ID != 0 {
				players[p.ID] = gameclient.Player(p)
			}
		}
		hash = w.Hash()
	})
	return players, hash
}

// at is where p's player is.
func at(r *gametest.Room, p *gametest.Player) gameclient.Player {
	r.T().Helper()
	players, _ := state(r)
	return players[p.Welcome.ID]
}

// Step 1: the frames

// frame is a frame as the decoder returns it.
type frame struct {
	t    gameloop.FrameType
	body string
}

// decode gives pieces to a decoder, one after the other, and returns the frames.
func decode(r *labtest.Lab, d *gameloop.Decoder, pieces ...[]byte) (frames []frame, err error) {
	r.T().Helper()
	do(r, func() {
		for _, piece := range pieces {
			for {
				t, body, rest, e := d.Next(piece)
				if e != nil {
					err = e
					return
				}
				if t == 0 || len(frames) > 100 { // more than there are: it never ends
					break
				}
				frames = append(frames, frame{t, string(body)})
				piece = rest
			}
		}
	})
	return frames, err
}

func do(l *labtest.Lab, f func()) {
	l.T().Helper()
	l.Call("the call", func(engine.Engine) { f() })
}

// stream is some frames, and what they are.
func stream() (bytes []byte, want []frame) {
	join := gameclient.AppendJoin(nil, 0, gameclient.Token{1, 2, 3})
	bytes = append(bytes, join...)
	want = append(want, frame{gameloop.FrameJoin, string(join[5:])})
	for i := range 20 {
		in := gameclient.AppendInput(nil, uint32(i+1), int16(i), -int16(i))
		bytes = append(bytes, in...)
		want = append(want, frame{gameloop.FrameInput, string(in[5:])})
	}
	bytes = gameclient.AppendLeave(bytes)
	return bytes, append(want, frame{gameloop.FrameLeave, ""})
}

func TestStep01_FramesComeOutAsTheyWentIn(t *testing.T) {
	lab := labtest.Part(t)
	data, want := stream()
	lab.Did("give the decoder %d frames in one piece", len(want))
	got, err := decode(lab, &gameloop.Decoder{}, data)
	wantFrames(lab, "frames-lost", got, want, err)
}

func wantFrames(lab *labtest.Lab, cause string, got, want []frame, err error) {
	lab.T().Helper()
	switch i := firstOther(got, want); {
	case err != nil:
		lab.Got("%d frames, then %q", len(got), err)
		wrong(lab, cause, "the decoder should return %d frames, but returned the error %q after %d", len(want), err, len(got))
	case i < len(want) && i < len(got):
		wrong(lab, cause, "frame %d should be type %d, body %x, but is type %d, body %x", i+1, want[i].t, want[i].body, got[i].t, got[i].body)
	case len(got) != len(want):
		wrong(lab, cause, "the decoder should return %d frames, but returned %d", len(want), len(got))
	}
}

func firstOther(got, want []frame) int {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return i
		}
	}
	return min(len(got), len(want))
}

func wrong(lab *labtest.Lab, cause, format string, args ...any) {
	lab.T().Helper()
	lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: cause, Problem: fmt.Sprintf(format, args...)})
}

func TestStep01_TCPMayCutTheStreamAnywhere(t *testing.T) {
	lab := labtest.Part(t)
	data, want := stream()
	random := rand.New(rand.NewPCG(7, 7))
	for round := range 200 {
		size := round%25 + 1 // pieces of this size, and afterwards of any
		var pieces [][]byte
		for rest := data; len(rest) > 0; {
			n := size
			if round >= 100 {
				n = random.IntN(60) + 1
			}
			n = min(n, len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		if round < 25 {
			lab.Did("the same in pieces of %d bytes", size)
		}
		got, err := decode(lab, &gameloop.Decoder{}, pieces...)
		wantFrames(lab, "half-frame-lost", got, want, err)
	}
}

func TestStep01_ABodyIsNotOverwrittenByWhatComesAfterIt(t *testing.T) {
	lab := labtest.Part(t)
	one, two := gameclient.AppendPing(nil, 0x1111111111111111), gameclient.AppendPing(nil, 0x2222222222222222)
	lab.Did("half a frame, then the other half and all of the next in one piece")
	var body, rest []byte
	var err error
	do(lab, func() {
		var d gameloop.Decoder
		_, _, _, _ = d.Next(one[:7])
		_, body, rest, err = d.Next(append(one[7:len(one):len(one)], two...))
	})
	if err != nil || !bytes.Equal(body, one[5:]) || !bytes.Equal(rest, two) {
		wrong(lab, "half-frame-lost", "the first frame should be %x with %d bytes after it, but is %x with %d (error %v)", one[5:], len(two), body, len(rest), err)
	}
}

func TestStep01_LengthsAreBounded(t *testing.T) {
	lab := labtest.Part(t)
	lab.SuspectNext(labtest.Rule{ID: "length-not-bounded", For: []labtest.Symptom{labtest.Panics}})
	for _, n := range []uint32{0, gameloop.MaxClientFrame + 1, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 1} {
		head := binary.BigEndian.AppendUint32(nil, n)
		lab.Did("a frame begins with the length %d", n)
		for _, pieces := range [][][]byte{{head}, {head[:1], head[1:]}, {append(head[:4:4], make([]byte, 100)...)}} {
			got, err := decode(lab, &gameloop.Decoder{}, pieces...)
			if !errors.Is(err, gameloop.ErrFrame) {
				lab.Got("%d frames, error %v", len(got), err)
				wrong(lab, "length-not-bounded", "a length of %d should be refused with ErrFrame as soon as its four bytes are there, but the decoder returned %d frames and the error %v", n, len(got), err)
			}
		}
		lab.Got("ErrFrame")
	}
	lab.Did("a frame has the type 0, which is none")
	if _, err := decode(lab, &gameloop.Decoder{}, gameclient.AppendFrame(nil, 0, 1, 2, 3)); !errors.Is(err, gameloop.ErrFrame) {
		wrong(lab, "length-not-bounded", "a frame of type 0 should be refused with ErrFrame (Next says 0 for one that is not complete), but the error is %v", err)
	}
}

func TestStep01_TheUsualFrameCostsNoMemory(t *testing.T) {
	lab := labtest.Part(t)
	data, want := stream()
	lab.Did("decode %d whole frames, again and again", len(want))
	var allocs float64
	do(lab, func() {
		var d gameloop.Decoder
		allocs = testing.AllocsPerRun(100, func() {
			for rest := data; len(rest) > 0; {
				_, _, r, err := d.Next(rest)
				if err != nil {
					return
				}
				rest = r
			}
		})
	})
	if allocs > 0 {
		lab.Got("%v allocations", allocs)
		wrong(lab, "decoder-allocates", "decoding %d frames that came whole should allocate nothing, but allocates %v times", len(want), allocs)
	}
}

// Step 2: the loop

// timed is a loop on an engine that only lets time pass.
type timed struct {
	*labtest.Lab
	clock      *gametest.Clock
	engine     *gametest.Engine
	simulation *gametest.Simulation
	loop       *gameloop.Loop
	start      time.Time
}

func newTimed(t *testing.T, cfg gameloop.LoopConfig) *timed {
	t.Helper()
	clock := gametest.NewClock()
	x := &timed{Lab: labtest.Part(t), clock: clock, engine: &gametest.Engine{Clock: clock}, simulation: &gametest.Simulation{Clock: clock}, start: clock.Now()}
	cfg.Now = clock.Now
	x.SuspectNext(labtest.Rule{ID: "waits-for-ever", For: []labtest.Symptom{labtest.Panics}, When: func(s *labtest.Scene) bool {
		return s.Panic == "Poll(-1): nothing will ever come in"
	}})
	do(x.Lab, func() { x.loop = gameloop.NewLoop(x.engine, x.simulation, cfg) })
	return x
}

// poll makes turns until cond holds, or n have been made.
func (x *timed) poll(n int, timeout time.Duration) {
	x.T().Helper()
	var err error
	do(x.Lab, func() {
		for range n {
			if err = x.loop.Poll(timeout); err != nil {
				return
			}
		}
	})
	if err != nil {
		wrong(x.Lab, "loop-fails", "Poll should return nil, but returned %q", err)
	}
}

// ticks makes turns until n ticks have been made.
func (x *timed) ticks(n int) {
	x.T().Helper()
	do(x.Lab, func() {
		for turns := 0; len(x.simulation.Steps) < n && turns < 1000*n; turns++ {
			_ = x.loop.Poll(-1)
		}
	})
	if got := len(x.simulation.Steps); got < n {
		wrong(x.Lab, "ticks-missing", "there should be %d ticks by now, but there are %d", n, got)
	}
}

func TestStep02_PollWaitsForTheTimeThatIsLeft(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{})
	dt := gametest.Sixtieth(1, 60)
	x.Did("the first turn at 60 ticks a second")
	x.poll(1, -1)
	x.wantWait(dt)
	if n := len(x.simulation.Steps); n != 1 {
		x.Got("%d ticks", n)
		wrong(x.Lab, "tick-not-made-when-due", "the turn whose wait ends at tick 1's deadline, to the nanosecond, should make that tick, but made %d", n)
	}
	x.Did("something comes in 3 ms after each wait has begun")
	x.engine.Early = 3 * time.Millisecond
	for n := range 5 {
		x.poll(1, -1)
		x.wantWait(gametest.Sixtieth(2, 60) - dt - time.Duration(n)*3*time.Millisecond)
	}
}

func (x *timed) wantWait(want time.Duration) {
	x.T().Helper()
	if got := x.engine.Waited(); got != want {
		x.Got("Poll(%v)", got)
		cause := "fixed-wait"
		if (got - want).Abs() < 100*time.Microsecond {
			cause = "dt-rounded"
		}
		wrong(x.Lab, cause, "the engine's Poll should get the time that is left to the next tick, %v, but got %v", want, got)
	}
}

func TestStep02_TheTimeoutIsAnUpperLimit(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{})
	for _, timeout := range []time.Duration{0, 5 * time.Millisecond, time.Hour} {
		x.Did("Poll(%v)", timeout)
		before := x.clock.Now()
		x.poll(1, timeout)
		left := x.start.Add(gametest.Sixtieth(1, 60)).Sub(before)
		if got, want := x.engine.Waited(), min(timeout, left); got != want {
			x.Got("the engine's Poll(%v)", got)
			wrong(x.Lab, "limit-ignored", "Poll(%v) with %v left to the next tick should wait %v, but asks the engine for %v", timeout, left, want, got)
		}
	}
}

func TestStep02_NothingAddsUp(t *testing.T) {
	for _, rate := range []int{60, 30, 144} {
		x := newTimed(t, gameloop.LoopConfig{Rate: rate})
		x.simulation.Takes = 700 * time.Microsecond
		const n = 10_000
		x.Did("%d ticks at %d a second, each of which takes 0.7 ms", n, rate)
		x.ticks(n)
		for i, began := range x.simulation.Steps {
			if want := x.start.Add(gametest.Sixtieth(int64(i+1), int64(rate))); !began.Equal(want) {
				late := began.Sub(want)
				x.Got("tick %d begins %v late", i+1, late)
				cause := "deadline-drifts"
				if late.Abs() < 100*time.Microsecond {
					cause = "dt-rounded"
				}
				wrong(x.Lab, cause, "tick %d should begin %v after the start, %d/%d of a second, but begins %v off; the last of %d is %v off", i+1, want.Sub(x.start), i+1, rate, late, n,
					x.simulation.Steps[n-1].Sub(x.start.Add(gametest.Sixtieth(n, int64(rate)))))
			}
		}
	}
}

func TestStep02_ALateWakeIsNotPassedOn(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{})
	x.engine.Round = time.Millisecond
	x.Did("1,000 ticks on an engine that waits whole milliseconds")
	x.ticks(1000)
	for i, began := range x.simulation.Steps {
		late := began.Sub(x.start.Add(gametest.Sixtieth(int64(i+1), 60)))
		if late < 0 || late >= time.Millisecond {
			x.Got("tick %d begins %v late", i+1, late)
			wrong(x.Lab, "deadline-drifts", "each tick should begin less than a millisecond late, but tick %d begins %v late", i+1, late)
		}
	}
}

func TestStep02_AfterAStallTheClampHolds(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{})
	x.ticks(10)
	x.Did("10 ticks, then the loop is held up for 2 seconds")
	x.clock.Pass(2001 * time.Millisecond)
	x.simulation.Log = nil
	x.poll(1, -1)
	due := int((x.clock.Now().Sub(x.start) * 60) / time.Second) // all that have come due since the start
	steps := len(x.simulation.Steps) - 10
	x.Got("%d ticks in the next turn", steps)
	if steps != 5 {
		wrong(x.Lab, "no-clamp", "the turn after a stall of 120 ticks should make 5 of them (LoopConfig.MaxCatchUp), but makes %d", steps)
	}
	var s gameloop.LoopStats
	do(x.Lab, func() { s = x.loop.LoopStats() })
	if want := uint64(due - 10 - 5); s.Dropped != want {
		wrong(x.Lab, "drops-not-counted", "%d ticks were due and 5 were made: LoopStats.Dropped should be %d, but is %d", due-10, want, s.Dropped)
	}
	if s.Ticks != 15 {
		wrong(x.Lab, "wrong-loop-stats", "15 ticks were made, but LoopStats.Ticks is %d", s.Ticks)
	}
	if got := s.Late.Max; got < 1900*time.Millisecond || got > 2001*time.Millisecond {
		wrong(x.Lab, "wrong-loop-stats", "the first tick that came due in the stall is nearly 2 s late, dropped or not, but LoopStats.Late.Max is %v", got)
	}
	x.Did("the next turn")
	left := x.start.Add(gametest.Sixtieth(int64(due)+1, 60)).Sub(x.clock.Now())
	x.poll(1, -1)
	if got := x.engine.Waited(); got != left {
		x.Got("Poll(%v)", got)
		wrong(x.Lab, "no-clamp", "after the stall the ticks should be on the old grid, the next in %v, but the engine's Poll gets %v", left, got)
	}
}

func TestStep02_SendsOnceAfterAllTicksThatAreDue(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{})
	x.engine.Log = &x.simulation.Log
	x.Did("two turns, then a stall of three ticks, then a turn")
	x.poll(2, -1)
	x.clock.Pass(gametest.Sixtieth(3, 60) + time.Millisecond)
	x.poll(1, -1)
	want := []string{"poll", "step", "broadcast", "poll", "step", "broadcast", "poll", "step", "step", "step", "broadcast"}
	got := x.simulation.Log
	if slices.Equal(got, want) {
		return
	}
	x.Got("%v", got)
	cause := "wrong-order"
	if count(got, "broadcast") > 3 {
		cause = "broadcast-per-tick"
	}
	wrong(x.Lab, cause, "the order should be %v, but is %v", want, got)
}

func count(list []string, s string) (n int) {
	for _, x := range list {
		if x == s {
			n++
		}
	}
	return n
}

func TestStep02_TicksThatTakeTooLongDoNotStopThePolling(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{})
	x.engine.Log = &x.simulation.Log
	x.simulation.Takes = 25 * time.Millisecond // one and a half ticks
	x.Did("100 turns, with ticks that each take 25 ms")
	x.poll(100, -1)
	steps := 0
	for _, entry := range x.simulation.Log {
		switch entry {
		case "poll":
			steps = 0
		case "step":
			if steps++; steps > 5 {
				x.Got("%d ticks without a look at the network", steps)
				wrong(x.Lab, "no-clamp", "between two Polls there should be at most 5 ticks, but there are more and more: the spiral")
			}
		}
	}
	var s gameloop.LoopStats
	do(x.Lab, func() { s = x.loop.LoopStats() })
	if s.Overruns == 0 || s.Dropped == 0 {
		wrong(x.Lab, "wrong-loop-stats", "ticks that take longer than they have are overruns, and some must be dropped, but LoopStats has %d overruns and %d dropped", s.Overruns, s.Dropped)
	}
	if got := s.Busy.Max; got < 25*time.Millisecond {
		wrong(x.Lab, "wrong-loop-stats", "turns were busy for 25 ms and more, but LoopStats.Busy.Max is %v", got)
	}
}

func TestStep02_SpinsInTheLastMoment(t *testing.T) {
	x := newTimed(t, gameloop.LoopConfig{Spin: 2 * time.Millisecond})
	dt := gametest.Sixtieth(1, 60)
	x.Did("a turn with Spin 2 ms")
	x.poll(1, -1)
	x.wantWait(dt - 2*time.Millisecond)
	if len(x.simulation.Steps) > 0 {
		wrong(x.Lab, "tick-too-early", "the first tick is due in 2 ms, but it was made")
	}
	x.Did("another, 2 ms before the tick")
	x.poll(1, -1)
	x.wantWait(0)
}

// Step 3: the world

// world is a world without a game.
type world struct {
	*labtest.Lab
	*gameloop.World
	walls [][]bool
}

func newWorld(t *testing.T, size, players int) *world {
	t.Helper()
	w := &world{Lab: labtest.Part(t), World: gameloop.NewWorld(size, size, 7, players)}
	w.walls = gameclient.Walls(gameclient.WelcomeBody{Width: size, Height: size, Seed: 7})
	return w
}

// spawn makes n players.
func (w *world) spawn(n int) (slots []int32) {
	w.T().Helper()
	w.Did("%d players begin in a world of %d by %d tiles", n, w.Width, w.Height)
	do(w.Lab, func() {
		for range n {
			if slot, ok := w.Spawn(); ok {
				slots = append(slots, slot)
			}
		}
	})
	if len(slots) != n {
		wrong(w.Lab, "free-place-refused", "there should be room for %d players, but only %d found a place", n, len(slots))
	}
	return slots
}

// sound checks what must hold in every world: nobody is in a wall or in somebody else.
func (w *world) sound() {
	w.T().Helper()
	for i, p := range w.Players {
		if p.ID == 0 {
			continue
		}
		for _, corner := range [][2]int32{{-1, -1}, {-1, 1}, {1, -1}, {1, 1}} {
			x, y := p.X+corner[0]*gameclient.Radius, p.Y+corner[1]*gameclient.Radius
			if corner[0] > 0 {
				x--
			}
			if corner[1] > 0 {
				y--
			}
			if x < 0 || y < 0 || x/gameclient.Tile >= w.Width || y/gameclient.Tile >= w.Height || w.walls[y/gameclient.Tile][x/gameclient.Tile] {
				w.Got("player %d at %d, %d", p.ID, p.X, p.Y)
				wrong(w.Lab, "walls-not-checked", "nobody can be in a wall, but player %d, at %d, %d, has a corner in the one of column %d, row %d", p.ID, p.X, p.Y, x/gameclient.Tile, y/gameclient.Tile)
			}
		}
		for _, q := range w.Players[i+1:] {
			if q.ID != 0 && abs(p.X-q.X) < 2*gameclient.Radius && abs(p.Y-q.Y) < 2*gameclient.Radius {
				w.Got("player %d at %d, %d and player %d at %d, %d", p.ID, p.X, p.Y, q.ID, q.X, q.Y)
				cause := "players-overlap"
				if p.X/cellSize != q.X/cellSize || p.Y/cellSize != q.Y/cellSize {
					cause = "neighbour-cell-forgotten"
				}
				wrong(w.Lab, cause, "two players cannot be in one place, but player %d is at %d, %d and player %d at %d, %d: less than %d apart", p.ID, p.X, p.Y, q.ID, q.X, q.Y, 2*gameclient.Radius)
			}
		}
	}
}

const cellSize = gameclient.CellTiles * gameclient.Tile

func abs(x int32) int32 { return max(x, -x) }

func TestStep03_TheGridKnowsWhereEverybodyIs(t *testing.T) {
	w := newWorld(t, 64, 40)
	slots := w.spawn(40)
	w.Did("they move about, 1,000 ticks")
	random := rand.New(rand.NewPCG(3, 4))
	directions := make([][2]int16, len(slots))
	for tick := range 1000 {
		do(w.Lab, func() {
			for i, slot := range slots {
				if random.IntN(40) == 0 || tick == 0 {
					directions[i] = [2]int16{int16(random.IntN(91) - 45), int16(random.IntN(91) - 45)}
				}
				w.Apply(slot, gameloop.Input{Sequence: uint32(tick + 1), DX: directions[i][0], DY: directions[i][1]})
			}
		})
	}
	for _, slot := range slots {
		var near []int32
		do(w.Lab, func() { near = w.Near(nil, w.Cell(slot)) })
		slices.Sort(near)
		var want []int32
		for _, other := range slots {
			if cellsApart(w.Players[slot], w.Players[other]) <= 1 {
				want = append(want, other)
			}
		}
		slices.Sort(want)
		if !slices.Equal(near, want) {
			p := w.Players[slot]
			wrong(w.Lab, "grid-stale", "near player %d, at %d, %d, are the slots %v (the cell of its place and the eight around it), but Near says %v", p.ID, p.X, p.Y, want, near)
		}
	}
}

func TestStep03_NobodyIsInAWallOrInSomebodyElse(t *testing.T) {
	w := newWorld(t, 32, 150)
	slots := w.spawn(150)
	w.sound()
	w.Did("they move at random, 2,000 ticks")
	random := rand.New(rand.NewPCG(1, 2))
	for tick := range 2000 {
		do(w.Lab, func() {
			for _, slot := range slots {
				// Most of the time to the middle, where there is a crowd.
				dx, dy := int16(random.IntN(91)-45), int16(random.IntN(91)-45)
				if p := w.Players[slot]; random.IntN(3) > 0 {
					dx, dy = int16(sign(w.Width*gameclient.Tile/2-p.X)*45), int16(sign(w.Height*gameclient.Tile/2-p.Y)*45)
				}
				w.Apply(slot, gameloop.Input{Sequence: uint32(tick + 1), DX: dx, DY: dy})
			}
		})
		if tick%20 == 0 {
			w.sound()
		}
	}
	w.sound()
}

func sign(x int32) int32 { return max(min(x, 1), -1) }

func TestStep03_AStepIsAsLongAsItIsAskedFor(t *testing.T) {
	w := newWorld(t, 32, 1)
	slot := w.spawn(1)[0]
	tx, ty := w.openTile()
	w.walkTo(slot, tx, ty)
	before := w.Players[slot]
	w.Did("a step of 30, -20 on free ground")
	do(w.Lab, func() { w.Apply(slot, gameloop.Input{Sequence: 77, DX: 30, DY: -20}) })
	p := w.Players[slot]
	if p.X != before.X+30 || p.Y != before.Y-20 {
		w.Got("%d, %d", p.X-before.X, p.Y-before.Y)
		wrong(w.Lab, "step-of-another-length", "the player should move by 30, -20, but moved by %d, %d", p.X-before.X, p.Y-before.Y)
	}
	if p.Sequence != 77 {
		wrong(w.Lab, "sequence-not-kept", "Player.Sequence should be that of the last input, 77, but is %d", p.Sequence)
	}
}

// openTile is a tile with no wall in it or next to it.
func (w *world) openTile() (x, y int) {
	for y := 2; y < len(w.walls)-2; y++ {
	next:
		for x := 2; x < len(w.walls)-2; x++ {
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					if w.walls[y+dy][x+dx] {
						continue next
					}
				}
			}
			return x, y
		}
	}
	panic("no open place in the world")
}

// walkTo takes the player of slot to the middle of a tile, over free tiles.
func (w *world) walkTo(slot int32, tx, ty int) {
	w.T().Helper()
	w.Did("a player walks to the middle of the tile in column %d, row %d", tx, ty)
	from := [2]int{int(w.Players[slot].X / gameclient.Tile), int(w.Players[slot].Y / gameclient.Tile)}
	for _, tile := range path(w.walls, from, [2]int{tx, ty}) {
		x, y := int32(tile[0]*gameclient.Tile+gameclient.Tile/2), int32(tile[1]*gameclient.Tile+gameclient.Tile/2)
		for range 100 {
			p := w.Players[slot]
			if p.X == x && p.Y == y {
				break
			}
			dx, dy := int16(max(min(x-p.X, 40), -40)), int16(max(min(y-p.Y, 40), -40))
			do(w.Lab, func() { w.Apply(slot, gameloop.Input{Sequence: p.Sequence + 1, DX: dx, DY: dy}) })
		}
		if p := w.Players[slot]; p.X != x || p.Y != y {
			w.Got("stuck at %d, %d", p.X, p.Y)
			wrong(w.Lab, "free-place-refused", "nothing is in the way from tile to tile, but the player stays at %d, %d on the way to %d, %d", p.X, p.Y, x, y)
		}
	}
}

// path is a way over free tiles, without corners to cut.
func path(walls [][]bool, from, to [2]int) (way [][2]int) {
	came := map[[2]int][2]int{from: from}
	for queue := [][2]int{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to {
			for ; at != from; at = came[at] {
				way = append(way, at)
			}
			way = append(way, from)
			slices.Reverse(way)
			return way
		}
		for _, d := range [][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
			next := [2]int{at[0] + d[0], at[1] + d[1]}
			if _, seen := came[next]; !seen && !walls[next[1]][next[0]] {
				came[next] = at
				queue = append(queue, next)
			}
		}
	}
	panic("no way from tile to tile")
}

func TestStep03_AWallStopsOneAxisAndNotTheOther(t *testing.T) {
	w := newWorld(t, 32, 1)
	slot := w.spawn(1)[0]
	// The border's wall is on the left of column 1: go there, then run into it at an angle.
	ty := 2
	for w.walls[ty][1] || w.walls[ty+1][1] || w.walls[ty+2][1] {
		ty++
	}
	w.walkTo(slot, 1, ty)
	before := w.Players[slot]
	w.Did("20 steps of -10, 20 into the wall on the left")
	for range 20 {
		do(w.Lab, func() { w.Apply(slot, gameloop.Input{Sequence: w.Players[slot].Sequence + 1, DX: -10, DY: 20}) })
	}
	p := w.Players[slot]
	if p.Y != before.Y+400 {
		w.Got("it moved by %d, %d", p.X-before.X, p.Y-before.Y)
		wrong(w.Lab, "no-slide", "a player that runs into a wall at an angle should slide along it, by 400 in twenty steps of 20, but moved by %d", p.Y-before.Y)
	}
	if want := int32(gameclient.Tile + gameclient.Radius); p.X != want {
		w.Got("x is %d", p.X)
		wrong(w.Lab, "stops-short", "a player that walks into a wall should end up touching it, at x = %d, but stays at %d", want, p.X)
	}
}

// cellsApart is how many cells of the spatial grid are between two players.
func cellsApart(p, q gameloop.Player) int32 {
	return max(abs(p.X/cellSize-q.X/cellSize), abs(p.Y/cellSize-q.Y/cellSize))
}

func TestStep03_TheSameCallsMakeTheSameHash(t *testing.T) {
	w := newWorld(t, 32, 60)
	run := func(other int) (hashes []uint64) {
		do(w.Lab, func() {
			x := gameloop.NewWorld(32, 32, 7, 60)
			random := rand.New(rand.NewPCG(5, 6))
			var slots []int32
			for range 60 {
				slot, _ := x.Spawn()
				slots = append(slots, slot)
			}
			for tick := range 300 {
				for i, slot := range slots {
					in := gameloop.Input{Sequence: uint32(tick + 1), DX: int16(random.IntN(91) - 45), DY: int16(random.IntN(91) - 45)}
					if tick == other && i == 10 {
						in.Sequence++
					}
					x.Apply(slot, in)
				}
				hashes = append(hashes, x.Hash())
			}
		})
		return hashes
	}
	w.Did("two worlds get the same 18,000 inputs")
	first, second := run(-1), run(-1)
	if !slices.Equal(first, second) {
		wrong(w.Lab, "not-deterministic", "the same calls should lead to the same hashes, but do not")
	}
	w.Did("a third gets one of them with another sequence number")
	if third := run(100); third[99] != first[99] || third[100] == first[100] {
		wrong(w.Lab, "hash-incomplete", "Hash should tell two worlds apart that differ in one player's sequence number, and only those")
	}
	slices.Sort(first)
	if n := len(slices.Compact(first)); n < 290 {
		wrong(w.Lab, "hash-incomplete", "300 states of a moving world should have 300 hashes, but have %d", n)
	}
}

// Step 4: joining

func TestStep04_AJoinIsWelcomed(t *testing.T) {
	r := room(t, gameloop.Config{Rate: 30, Width: 40, Height: 50, Seed: 1 << 40})
	p := r.Join()
	w := p.Welcome
	want := gameclient.WelcomeBody{ID: w.ID, Token: w.Token, Rate: 30, Width: 40, Height: 50, Seed: 1 << 40}
	r.Check(w.ID != 0 && w.Token != gameclient.Token{} && w == want, "no-welcome", "the welcome should have an ID, a token and %+v, but has %+v", want, w)
	q := r.Join()
	r.Check(q.Welcome.ID != w.ID && q.Welcome.Token != w.Token, "no-welcome", "two players should have two IDs and two tokens, but both have %d", w.ID)
	players, _ := state(r)
	r.Check(len(players) == 2, "no-welcome", "after two joins there should be 2 players in the world, but there are %d", len(players))
}

func TestStep04_FramesComeInAnyPieces(t *testing.T) {
	r := room(t, gameloop.Config{})
	p, q := r.Connect(), r.Connect()
	join := gameclient.AppendJoin(nil, 0, gameclient.Token{})
	three := gameclient.AppendPing(gameclient.AppendPing(join, 1), 2)
	p.Say(three, "a join and two pings in one piece")
	r.Check(len(p.Read()) == 3, "merged-frames-lost", "the answer should be a welcome and two pongs: a piece of the stream may have many frames")
	q.Say(three[:10], "the first ten bytes of the same")
	r.Check(q.Pending() == 0, "half-frame-lost", "half a join should not be answered")
	for i := range three[10:] {
		q.SayQuietly(three[10+i : 11+i])
	}
	r.Did("the rest follows byte by byte")
	r.Check(len(q.Read()) == 3, "half-frame-lost", "the answer should be a welcome and two pongs: a frame may come in many pieces")
}

func TestStep04_APingIsAnswered(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	p.Say(gameclient.AppendPing(nil, 0x0123456789abcdef), "a ping")
	frames := p.Read()
	r.Check(len(frames) == 1 && frames[0].Type == gameclient.Pong, "no-pong", "a ping should be answered with a pong, but the answer is %v", frames)
	nonce, tick, err := gameclient.ParsePong(frames[0].Body)
	r.Check(err == nil && nonce == 0x0123456789abcdef && tick == 0, "no-pong", "the pong should have the ping's nonce and the tick, 0, but has %x and %d (error %v)", nonce, tick, err)
}

// refused wants p to be sent an error of this code, and the end of data.
func refused(r *gametest.Room, p *gametest.Player, code byte, cause, why string) {
	r.T().Helper()
	closed := p.Closed
	frames := p.Read()
	i := slices.IndexFunc(frames, func(f gametest.Frame) bool { return f.Type == gameclient.Error })
	switch {
	case i < 0 && (closed || p.Finished):
		r.Wrong("refused-without-a-word", "%s: %s should be sent the error %d, but its connection ends without a word", why, p.Name, code)
	case i < 0:
		r.Wrong(cause, "%s: %s should be sent the error %d, but is sent %v", why, p.Name, code, frames)
	case len(frames[i].Body) < 1 || frames[i].Body[0] != code:
		r.Wrong("wrong-error-code", "%s: %s should be sent the error %d, but is sent %v", why, p.Name, code, frames[i])
	case closed:
		r.Wrong("closed-before-the-error-arrives", "%s: what was sent to %s should arrive before the connection ends, but Close was called, which drops it", why, p.Name)
	case !p.Finished:
		r.Wrong("refused-and-kept", "%s: after the error the connection of %s should end, but CloseWrite was not called", why, p.Name)
	}
}

func TestStep04_WhatIsNotTheProtocolIsRefused(t *testing.T) {
	r := room(t, gameloop.Config{})
	token := gameclient.Token{}
	input := gameclient.AppendInput(nil, 1, 1, 1)
	join := gameclient.AppendJoin(nil, 0, token)
	other := bytes.Clone(join)
	other[5] = 99
	for _, c := range []struct {
		what   string
		bytes  []byte
		joined bool
		code   byte
	}{
		{"an HTTP request", []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"), false, gameclient.ErrorProtocol},
		{"the length 2^32 - 1", []byte{255, 255, 255, 255, 1}, false, gameclient.ErrorProtocol},
		{"an input before its join", input, false, gameclient.ErrorProtocol},
		{"a second join", join, true, gameclient.ErrorProtocol},
		{"a join that is too short", gameclient.AppendFrame(nil, gameclient.Join, 1, 0, 3), false, gameclient.ErrorProtocol},
		{"an input that is too short", gameclient.AppendFrame(nil, gameclient.Input, 1, 0, 3), true, gameclient.ErrorProtocol},
		{"a frame of type 77", gameclient.AppendFrame(nil, 77), true, gameclient.ErrorProtocol},
		{"a welcome", gameclient.AppendFrame(nil, gameclient.Welcome), true, gameclient.ErrorProtocol},
		{"a join with version 99", other, false, gameclient.ErrorVersion},
	} {
		p := r.Connect()
		if c.joined {
			p.Enter(0, token)
		}
		p.Say(c.bytes, "%s", c.what)
		refused(r, p, c.code, "phase-not-checked", c.what)
		p.Say(gameclient.AppendPing(bytes.Clone(input), 1), "an input and a ping after that")
		r.Check(p.Pending() == 0, "refused-and-kept", "a client that was refused should be sent nothing more, but is")
		p.Disconnect(nil)
	}
	s := stats(r)
	r.Check(s.Clients == 0, "clients-not-forgotten", "all clients are gone, but Stats.Clients is %d", s.Clients)
	world, _ := state(r)
	r.Check(len(world) == 4, "refused-and-kept", "four of them had joined, and who is refused before that should leave no player behind, but the world has %d", len(world))
}

func TestStep04_WhoLeavesIsGone(t *testing.T) {
	r := room(t, gameloop.Config{})
	players := r.JoinMany(3)
	players[0].Say(gameclient.AppendLeave(nil), "a leave")
	r.Check(players[0].Finished, "leave-ignored", "after a leave the server should end its output (CloseWrite), but does not")
	left, _ := state(r)
	_, there := left[players[0].Welcome.ID]
	r.Check(!there && len(left) == 2, "leave-ignored", "who has left should be gone from the world, but the world has %d players of 2", len(left))
	players[0].Disconnect(nil)
	players[1].Disconnect(errors.New("connection reset by peer"))
	left, _ = state(r)
	r.Check(len(left) == 2, "dropped-with-the-connection", "a player whose connection broke should stay in the world for a while (Config.RejoinTicks), but is gone at once")
	s := stats(r)
	r.Check(s.Clients == 1, "clients-not-forgotten", "one client of three is left, but Stats.Clients is %d", s.Clients)
	players[2].Say(gameclient.AppendPing(nil, 1), "a ping")
	r.Check(len(players[2].Read()) == 1, "clients-not-forgotten", "the client that is left should be served, but is not")
	r.SuspectNext(labtest.Rule{ID: "clients-not-forgotten", For: []labtest.Symptom{labtest.Panics}})
	players[2].Disconnect(nil)
	s = stats(r)
	r.Check(s.Clients == 0, "clients-not-forgotten", "all clients are gone, but Stats.Clients is %d", s.Clients)
}

func TestStep04_AFullServerSaysSo(t *testing.T) {
	r := room(t, gameloop.Config{MaxPlayers: 3})
	players := r.JoinMany(3)
	p := r.Connect()
	p.Say(gameclient.AppendJoin(nil, 0, gameclient.Token{}), "a join, as the fourth of three")
	refused(r, p, gameclient.ErrorFull, "full-without-a-word", "the server is full")
	s := r.Connect()
	s.Enter(gameclient.Spectator, gameclient.Token{})
	r.Check(s.Welcome.ID == 0, "spectator-has-a-player", "a spectator has no player, but the welcome says %d", s.Welcome.ID)
	r.SuspectNext(labtest.Rule{ID: "spectator-has-a-player", For: []labtest.Symptom{labtest.Panics}})
	s.Say(gameclient.AppendLeave(nil), "a leave, as a spectator")
	r.Check(s.Finished, "leave-ignored", "after a spectator's leave the server should end its output (CloseWrite), but does not")
	players[1].Say(gameclient.AppendLeave(nil), "a leave")
	q := r.Join()
	r.Check(q.Welcome.ID != players[1].Welcome.ID, "id-used-again", "an ID is never used again, but player %d has left and the next has the same", q.Welcome.ID)
}

// Step 5: inputs

func TestStep05_OneInputATick(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	free := freeDirection(r, p)
	before := at(r, p)
	r.Did("%s sends ten inputs at once", p.Name)
	for range 10 {
		p.Move(free[0]*10, free[1]*10)
	}
	now := at(r, p)
	r.Check(now == before, "input-applied-at-once", "an input should wait for its tick, but the player has moved before")
	r.Step(3)
	now = at(r, p)
	moved := abs(now.X-before.X) + abs(now.Y-before.Y)
	r.Check(moved == 30, "inputs-all-at-once", "three ticks should apply three of the ten inputs, 30 units, but the player has moved by %d: who sends more would be faster", moved)
}

func TestStep05_InputsAreAppliedByTheirNumbers(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	free := freeDirection(r, p)
	for _, n := range []uint32{3, 1, 4, 2} {
		p.Input(n, free[0]*int16(n), free[1]*int16(n))
	}
	before := at(r, p)
	for n := int32(1); n <= 4; n++ {
		r.Step(1)
		now := at(r, p)
		moved := abs(now.X-before.X) + abs(now.Y-before.Y)
		before = now
		if now.Sequence == uint32(n) && moved == n {
			r.Got("input %d applied", now.Sequence)
			continue
		}
		r.Got("input %d applied, %d units", now.Sequence, moved)
		cause := "inputs-out-of-order"
		if n == 1 && now.Sequence == 4 {
			cause = "inputs-all-at-once"
		}
		r.Wrong(cause, "inputs 3, 1, 4, 2 came in, and tick %d should apply input %d, a step of %d; but the player's sequence is %d and it moved by %d", n, n, n, now.Sequence, moved)
	}
}

// freeDirection is a direction in which p can move by some hundred units, at least.
func freeDirection(r *gametest.Room, p *gametest.Player) [2]int16 {
	r.T().Helper()
	me := at(r, p)
	walls := gameclient.Walls(p.Welcome)
	others, _ := state(r)
	for _, d := range [][2]int16{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
		x, y := int(me.X)/gameclient.Tile+int(d[0]), int(me.Y)/gameclient.Tile+int(d[1])
		free := !walls[y][x]
		for _, o := range others {
			free = free && (o.ID == me.ID || abs(o.X-int32(x*gameclient.Tile+128)) > 2*gameclient.Tile || abs(o.Y-int32(y*gameclient.Tile+128)) > 2*gameclient.Tile)
		}
		if free {
			return d
		}
	}
	r.T().Fatal("the seed's world has no free place next to this player: this is the test's fault")
	return [2]int16{}
}

func TestStep05_TooFastIsRefused(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	free := freeDirection(r, p)
	before := at(r, p)
	cheats := [][2]int16{{free[0] * 65, free[1] * 65}, {32767, 0}, {-32768, -32768}, {0, -32768}, {50, 50}, {-64, 1}}
	for i, d := range cheats {
		p.Input(uint32(i+1), d[0], d[1])
	}
	r.Step(len(cheats))
	now := at(r, p)
	r.Check(now == before, "speed-not-checked", "the longest step is %d, in any direction, but longer ones were applied: the player has moved by %d, %d (sequence %d)", gameclient.MaxSpeed, now.X-before.X, now.Y-before.Y, now.Sequence)
	s := stats(r)
	r.Check(s.InputsRejected == uint64(len(cheats)), "rejected-not-counted", "%d inputs were refused, but Stats.InputsRejected is %d", len(cheats), s.InputsRejected)
	p.Input(7, free[0]*64, free[1]*64)
	r.Step(1)
	moved := at(r, p)
	r.Check(abs(moved.X-before.X)+abs(moved.Y-before.Y) == 64, "step-of-another-length", "the longest step that is allowed, 64, should be made in full")
	p.Input(8, 45, -45)
	r.Step(1)
	moved = at(r, p)
	r.Check(moved.Sequence == 8, "short-step-refused", "45 along both axes is a step of less than 64 (their squares add up to 4,050) and should be applied, but the last that was is input %d", moved.Sequence)
}

func TestStep05_ANumberIsAppliedOnce(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	free := freeDirection(r, p)
	before := at(r, p)
	p.Input(1, free[0]*10, free[1]*10)
	p.Input(1, free[0]*10, free[1]*10)
	r.Step(2)
	p.Input(1, free[0]*10, free[1]*10)
	r.Step(2)
	now := at(r, p)
	r.Check(abs(now.X-before.X)+abs(now.Y-before.Y) == 10, "input-applied-twice", "input 1 came three times and should be applied once, 10 units, but the player has moved by %d, %d", now.X-before.X, now.Y-before.Y)
}

func TestStep05_TheFutureIsRefused(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	free := freeDirection(r, p)
	for _, n := range []uint32{1 << 31, 1<<32 - 1, 10_000} {
		p.Input(n, free[0], free[1])
	}
	p.Input(1, free[0], free[1])
	r.Step(5)
	now := at(r, p)
	r.Check(now.Sequence == 1, "future-not-refused", "inputs far ahead of the last one should be refused, since all that come after would be old; the player's sequence should be 1, but is %d", now.Sequence)
}

func TestStep05_ASpectatorMovesNobody(t *testing.T) {
	r := room(t, gameloop.Config{})
	p, spectator := r.Join(), r.Connect()
	spectator.Enter(gameclient.Spectator, gameclient.Token{})
	before := at(r, p)
	r.SuspectNext(labtest.Rule{ID: "spectator-has-a-player", For: []labtest.Symptom{labtest.Panics}})
	spectator.Input(1, 1, 1)
	r.Step(1)
	r.Check(at(r, p) == before, "spectator-has-a-player", "a spectator's input should move nobody, but player %d has moved", p.Welcome.ID)
}

func TestStep05_TheQueueIsBounded(t *testing.T) {
	r := room(t, gameloop.Config{InputQueue: 8})
	p, q := r.Join(), r.Join()
	r.Did("%s sends 100 inputs at once", p.Name)
	for range 100 {
		p.Move(1, 0)
	}
	s := stats(r)
	r.Check(s.InputsQueued <= 8 && s.LongestQueue <= 8, "input-queue-unbounded", "Config.InputQueue is 8, but %d inputs are queued", s.InputsQueued)
	r.Check(s.InputsDropped == 92, "rejected-not-counted", "92 inputs should be dropped and counted, but Stats.InputsDropped is %d", s.InputsDropped)
	// Nobody else is touched by it.
	free := freeDirection(r, q)
	before := at(r, q)
	q.Input(1, free[0]*5, free[1]*5)
	r.Step(1)
	now := at(r, q)
	r.Check(now.Sequence == 1 && now != before, "others-wait", "the input of another player should be applied at the next tick, but is not")
}

func TestStep05_AFloodEndsTheConnection(t *testing.T) {
	r := room(t, gameloop.Config{FramesPerTick: 4, IdleTicks: 10_000})
	q, quiet := r.Join(), r.Join()
	ping := gameclient.AppendPing(nil, 1)
	r.Did("%s sends 4 pings a tick, for 750 ticks", q.Name)
	for tick := range 750 {
		q.SayQuietly(bytes.Repeat(ping, min(3+tick, 4))) // the join is a frame, too
		q.Read()
		r.Do(r.Game.Step)
	}
	quiet.Say(bytes.Repeat(ping, 3500), "3,500 pings in a moment, after 750 ticks of silence")
	r.Check(quiet.Finished || quiet.Closed, "flood-not-limited", "ten seconds bring 2,400 frames, however long it was silent before; but it is served")
	r.Check(!q.Finished, "busy-taken-for-flood", "Config.FramesPerTick is 4, and a client that sends as many should be served, but was refused")
	p := r.Join()
	p.Say(bytes.Repeat(ping, 100_000), "100,000 pings in a moment")
	refused(r, p, gameclient.ErrorFlood, "flood-not-limited", "100,000 frames in one tick")
}

// pushing is a game of many players who all push to the middle, each by its own numbers.
// order says in which order they send what they send in a tick.
func pushing(r *gametest.Room, players []*gametest.Player, ticks int, order func(n int) []int) (hashes []uint64) {
	r.T().Helper()
	for range ticks {
		where, _ := state(r)
		for _, i := range order(len(players)) {
			p := players[i]
			me := where[p.Welcome.ID]
			p.Move(int16(sign(24*gameclient.Tile-me.X)*40), int16(sign(24*gameclient.Tile-me.Y)*40))
		}
		r.Do(r.Game.Step)
		_, hash := state(r)
		hashes = append(hashes, hash)
	}
	return hashes
}

func TestStep05_NothingDependsOnWhoseBytesComeFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	forward := func(n int) (all []int) {
		for i := range n {
			all = append(all, i)
		}
		return all
	}
	var runs [3][]uint64
	for i, order := range []func(int) []int{forward, random.Perm, random.Perm} {
		r := room(t, gameloop.Config{})
		players := r.JoinMany(40)
		r.Did("40 players push to the middle for 150 ticks; what they send comes in the order %d", i+1)
		runs[i] = pushing(r, players, 150, order)
		if i > 0 && !slices.Equal(runs[i], runs[0]) {
			at := 0
			for runs[i][at] == runs[0][at] {
				at++
			}
			r.Got("another world from tick %d on", at+1)
			r.Wrong("order-of-arrival", "the same inputs should lead to the same hash at every tick, whoever's come first, but tick %d differs", at+1)
		}
	}
}

// Step 6: snapshots

// wander lets the players make random steps for some ticks.
func wander(r *gametest.Room, random *rand.Rand, players []*gametest.Player, ticks int) {
	r.T().Helper()
	for range ticks {
		for _, p := range players {
			if !p.Closed {
				p.Move(int16(random.IntN(91)-45), int16(random.IntN(91)-45))
			}
		}
		r.TickQuietly(1)
	}
}

// sees wants p's view to be these players, and says otherwise what is wrong.
func sees(r *gametest.Room, p *gametest.Player, want map[uint32]gameclient.Player, cause string) {
	r.T().Helper()
	for id, w := range want {
		got, ok := p.View.Players[id]
		if !ok {
			r.Wrong(cause, "%s should see player %d after tick %d, but the snapshots do not have it (it sees %d of %d)", p.Name, id, p.View.Tick, len(p.View.Players), len(want))
		}
		if got != w {
			r.Wrong(cause, "%s should see player %d as %+v after tick %d, but sees %+v", p.Name, id, w, p.View.Tick, got)
		}
	}
	for id := range p.View.Players {
		if _, ok := want[id]; !ok {
			extra := cause
			if cause == "wrong-snapshot" {
				extra = "gone-forgotten"
			}
			r.Wrong(extra, "%s should see %d players after tick %d, but still sees player %d", p.Name, len(want), p.View.Tick, id)
		}
	}
}

func TestStep06_OneEncodingForAll(t *testing.T) {
	r := room(t, gameloop.Config{})
	players := r.JoinMany(30)
	r.Tick(1)
	for _, p := range players {
		p.Read()
	}
	r.Did("a tick; look where the bytes lie that each client is sent")
	r.TickQuietly(1)
	var first []byte
	for i, p := range players {
		frames := p.Read()
		if len(frames) != 1 {
			r.Wrong("no-snapshot", "%s should be sent one snapshot, but was sent %d frames", p.Name, len(frames))
		}
		if i == 0 {
			first = frames[0].Body
		}
		r.Check(bytes.Equal(frames[0].Body, first), "shared-buffer-changed", "all clients should be sent the same bytes, but those of %s differ from those of %s", p.Name, players[0].Name)
		r.Check(p.From == players[0].From, "encoded-per-client", "the snapshot should be encoded once, and all clients sent that one buffer, but %s is sent another than %s", p.Name, players[0].Name)
	}
}

func TestStep06_EverybodySeesTheWorldAfterEachTick(t *testing.T) {
	r := room(t, gameloop.Config{})
	players := r.JoinMany(20)
	spectator := r.Connect()
	spectator.Enter(gameclient.Spectator, gameclient.Token{})
	r.Did("they move at random for 20 ticks")
	random := rand.New(rand.NewPCG(10, 11))
	for tick := range 20 {
		wander(r, random, players, 1)
		world, _ := state(r)
		for _, p := range append([]*gametest.Player{spectator}, players...) {
			n := p.Snapshots()
			r.Check(n == 1, "no-snapshot", "%s should be sent one snapshot for tick %d, but was sent %d", p.Name, tick+1, n)
			r.Check(p.View.Tick == uint32(tick+1), "wrong-snapshot", "the snapshot of tick %d says that it is of tick %d", tick+1, p.View.Tick)
			sees(r, p, world, "wrong-snapshot")
		}
	}
}

func TestStep06_ATickCostsNoMemory(t *testing.T) {
	r := room(t, gameloop.Config{WindowTicks: 1000})
	players := r.JoinMany(50)
	r.Did("100 ticks, then a tick's allocations are counted")
	r.TickQuietly(100)
	var allocs float64
	r.Do(func() {
		for _, p := range players {
			p.Forget()
		}
		allocs = math.MaxFloat64
		for range 3 { // a list of what is not acknowledged may grow in one of them
			allocs = min(allocs, testing.AllocsPerRun(50, func() { r.Game.Step(); r.Game.Broadcast() }))
		}
	})
	r.Got("%v", allocs)
	r.Check(allocs < 1, "allocates-per-tick", "a tick should allocate nothing once all buffers have their size, but allocates %v times", allocs)
}

// Step 7: slow clients

func TestStep07_ASlowClientGetsTheLatestState(t *testing.T) {
	r := room(t, gameloop.Config{})
	slow, other := r.Join(), r.Join()
	r.Tick(1)
	slow.Snapshots()
	r.Did("%s reads nothing for 20 ticks", slow.Name)
	slow.Stalled = true
	random := rand.New(rand.NewPCG(12, 13))
	wander(r, random, []*gametest.Player{other}, 20)
	queued := slow.Queued()
	r.Check(slow.Sends == 3, "stale-snapshots-pile-up", "with an earlier snapshot still in the queue nothing should be added to it, but in 20 ticks Send was called %d times (%d bytes queued)", slow.Sends-2, queued)
	r.Check(other.Snapshots() == 21, "others-wait", "the other client should be sent every snapshot meanwhile, but was not")
	r.Did("then it reads again")
	slow.Drain()
	r.Check(slow.Snapshots() == 1, "stale-snapshots-pile-up", "it should find the one snapshot that was on its way")
	wander(r, random, []*gametest.Player{other}, 1)
	r.Check(slow.Snapshots() == 1, "replaced-for-ever", "at the next tick it should be sent a snapshot again, but is not")
	world, _ := state(r)
	sees(r, slow, world, "stale-snapshot")
	s := stats(r)
	r.Check(s.Replaced == 19, "replaced-not-counted", "19 snapshots were replaced by a later one, but Stats.Replaced is %d", s.Replaced)
}

func TestStep07_AFrameIsNeverCut(t *testing.T) {
	r := room(t, gameloop.Config{})
	r.JoinMany(60)
	slow := r.Join()
	slow.Stalled = true
	r.Did("%s reads nothing, and there is room for 1,500 bytes in its queue", slow.Name)
	slow.Limit(1500)
	r.Tick(30)
	r.Did("then it reads")
	slow.Drain()
	slow.Limit(0)
	slow.Read() // fails if there is less than a frame
	r.Tick(1)
	r.Check(slow.Snapshots() == 1, "replaced-for-ever", "at the next tick it should be sent a snapshot, but is not")
}

func TestStep07_WhoIsSlowForTooLongIsDropped(t *testing.T) {
	r := room(t, gameloop.Config{SlowTicks: 40})
	slow, other := r.Join(), r.Join()
	r.Tick(1)
	slow.Stalled = true
	r.Tick(39)
	r.Check(!slow.Closed, "slow-client-dropped-at-once", "Config.SlowTicks is 40, but the client is dropped after 39")
	r.Tick(10)
	r.Check(slow.Closed, "slow-client-kept", "a client that takes nothing for longer than Config.SlowTicks should be dropped, but is kept")
	r.Check(!other.Closed, "others-wait", "the other client should be served, but is dropped")
	s := stats(r)
	r.Check(s.Slow == 1 && s.Clients == 1, "clients-not-forgotten", "one client was dropped for being slow and one is left, but Stats says %d and %d", s.Slow, s.Clients)
	other.Snapshots()
	r.Tick(1)
	r.Check(other.Snapshots() == 1, "others-wait", "the other client should be sent its snapshot, but is not")
}

func TestStep07_WhoCannotBeSentASnapshotIsSlow(t *testing.T) {
	r := room(t, gameloop.Config{SlowTicks: 40})
	p, other := r.Join(), r.Join()
	r.Tick(1)
	r.Did("from here on %s has no room for a snapshot", p.Name)
	p.Limit(1)
	r.Tick(39)
	r.Check(!p.Closed, "slow-client-dropped-at-once", "Config.SlowTicks is 40, but the client is dropped after 39")
	r.Tick(10)
	r.Check(p.Closed, "unsent-noted-as-sent", "a client to which Send has refused every snapshot for longer than Config.SlowTicks should be dropped, but is kept")
	r.Check(!other.Closed, "others-wait", "the other client should be served, but is dropped")
}

func TestStep07_PongsDoNotPileUp(t *testing.T) {
	r := room(t, gameloop.Config{})
	p := r.Join()
	r.Tick(1)
	p.Stalled = true
	r.Tick(1)
	before := p.Queued()
	r.Did("%s reads nothing and sends 50 pings", p.Name)
	for range 50 {
		p.SayQuietly(gameclient.AppendPing(nil, 1))
	}
	r.Check(p.Queued() == before, "pongs-pile-up", "nothing should be added to the queue of a client that does not read, but 50 pings made it grow from %d to %d bytes", before, p.Queued())
}

// Step 8: deltas

func TestStep08_ADeltaIsAgainstWhatWasAcknowledged(t *testing.T) {
	r := room(t, gameloop.Config{})
	p, q := r.Join(), r.Join()
	r.Join() // stands still, so that a delta is shorter than all
	random := rand.New(rand.NewPCG(14, 15))
	everybody := []*gametest.Player{p, q}
	wander(r, random, everybody, 3)
	p.Snapshots()
	r.Check(p.Head.Base == 0, "delta-against-unknown", "before the first acknowledgement every snapshot should be full, but one is against tick %d", p.Head.Base)
	p.Ack(2)
	for tick := uint32(4); tick < 10; tick++ {
		wander(r, random, everybody, 1)
		p.Snapshots()
		if p.Head.Base != 2 {
			r.Got("against tick %d", p.Head.Base)
			cause := "delta-against-last-sent"
			if p.Head.Base == 0 {
				cause = "no-delta"
			}
			r.Wrong(cause, "the last that %s has acknowledged is tick 2, and the snapshot of tick %d should be against that, but is against %d", p.Name, tick, p.Head.Base)
		}
		world, _ := state(r)
		sees(r, p, world, "wrong-snapshot")
	}
	r.Did("acknowledgements of ticks that were not sent, and of an older one")
	for _, tick := range []uint32{1000, 1<<32 - 1, 10, 1} {
		p.SayQuietly(gameclient.AppendAck(nil, tick))
	}
	wander(r, random, everybody, 1)
	p.Snapshots()
	r.Check(p.Head.Base == 2, "ack-not-checked", "ticks that were not sent, and older ones than the last that was acknowledged, should change nothing; but the snapshot is against %d, not against 2", p.Head.Base)
}

func TestStep08_WhatHasNotChangedIsNotSent(t *testing.T) {
	r := room(t, gameloop.Config{})
	players := r.JoinMany(20)
	r.Tick(1)
	p := players[0]
	p.Snapshots()
	p.Ack(1)
	r.Did("one of 20 players moves")
	free := freeDirection(r, players[5])
	players[5].Move(free[0]*20, free[1]*20)
	r.TickQuietly(1)
	p.Snapshots()
	r.Check(p.Head.Changed == 1 && p.Head.Gone == 0, "delta-too-long", "one of 20 players has moved since tick 1: the delta should have one record, but has %d, and %d that are gone", p.Head.Changed, p.Head.Gone)
	r.Did("another makes a step of 0")
	players[6].Move(0, 0)
	r.TickQuietly(1)
	p.Snapshots()
	stands, _ := state(r)
	sees(r, p, stands, "sequence-not-kept")
	players[7].Say(gameclient.AppendLeave(nil), "a leave")
	newcomer := r.Join()
	r.Tick(1)
	p.Snapshots()
	world, _ := state(r)
	sees(r, p, world, "wrong-snapshot")
	r.Check(p.Head.Gone == 1, "gone-forgotten", "one has left, and the delta should say so, but has %d that are gone", p.Head.Gone)
	newcomer.Snapshots()
	sees(r, newcomer, world, "wrong-snapshot")
	players[19].Say(gameclient.AppendLeave(nil), "a leave, as the last of them all")
	r.Tick(1)
	p.Snapshots()
	world, _ = state(r)
	sees(r, p, world, "wrong-snapshot")
}

func TestStep08_AnOldBaselineMeansAFullSnapshot(t *testing.T) {
	r := room(t, gameloop.Config{WindowTicks: 200})
	p, q := r.Join(), r.Join()
	r.Join() // stands still
	random := rand.New(rand.NewPCG(18, 19))
	wander(r, random, []*gametest.Player{p, q}, 1)
	p.Snapshots()
	p.Ack(1)
	r.Did("70 ticks without another acknowledgement")
	for tick := uint32(2); tick <= 71; tick++ {
		wander(r, random, []*gametest.Player{p, q}, 1)
		p.Snapshots()
		world, _ := state(r)
		sees(r, p, world, "baseline-overwritten")
		if tick-1 > gameclient.History {
			r.Check(p.Head.Base == 0, "baseline-overwritten", "the last that was acknowledged is %d ticks old, and %d are kept: the snapshot should be full, but is against tick %d", tick-1, gameclient.History, p.Head.Base)
		}
	}
	p.Ack(71)
	wander(r, random, []*gametest.Player{p, q}, 1)
	p.Snapshots()
	r.Check(p.Head.Base == 71, "no-delta", "after an acknowledgement there should be deltas again, but the snapshot is against %d", p.Head.Base)
	p.Ack(72)
	r.Did("ten snapshots, one every four ticks, as after a stall, and no other acknowledgement")
	for range 10 {
		r.Do(func() {
			for range 3 {
				r.Game.Step()
			}
		})
		wander(r, random, []*gametest.Player{p, q}, 1)
		p.Snapshots() // fails if the client has another in the place of the base
		world, _ := state(r)
		sees(r, p, world, "baseline-overwritten")
	}
}

func TestStep08_ClientsWithDifferentBaselines(t *testing.T) {
	r := room(t, gameloop.Config{})
	players := r.JoinMany(12)
	r.Did("200 ticks in which each client acknowledges some snapshots, some of them late; now and then one leaves or joins")
	random := rand.New(rand.NewPCG(16, 17))
	for tick := range 200 {
		wander(r, random, players, 1)
		world, _ := state(r)
		for i, p := range players {
			if p.Closed || p.Finished {
				continue
			}
			if p.Snapshots() > 0 {
				sees(r, p, world, "wrong-snapshot")
			}
			// Client i acknowledges one in i+1, and up to 40 ticks late.
			if tick%(i+1) == 0 {
				late := uint32(random.IntN(3) * random.IntN(21))
				if p.View.Tick > late {
					p.SayQuietly(gameclient.AppendAck(nil, p.View.Tick-late))
				}
			}
		}
		switch {
		case tick%50 == 20:
			players[tick/50].SayQuietly(gameclient.AppendLeave(nil))
		case tick%50 == 30:
			players[tick/50].Disconnect(nil)
			players[tick/50] = r.Join()
		}
	}
}

func TestStep08_WhoAcknowledgesNothingIsSlow(t *testing.T) {
	r := room(t, gameloop.Config{WindowTicks: 20, SlowTicks: 30})
	p, q, liar := r.Join(), r.Join(), r.Join()
	r.Did("%s takes everything and acknowledges nothing; %s does; %s acknowledges a tick that is far ahead", p.Name, q.Name, liar.Name)
	liar.SayQuietly(gameclient.AppendAck(nil, 1<<32-1))
	for tick := uint32(1); tick <= 40; tick++ {
		r.TickQuietly(1)
		q.Snapshots()
		q.SayQuietly(gameclient.AppendAck(nil, tick))
	}
	n := p.Snapshots()
	r.Check(n <= 21, "unacknowledged-without-limit", "Config.WindowTicks is 20, and a client that acknowledges nothing should be sent no more than 20 snapshots or 21, but was sent %d", n)
	n = liar.Snapshots()
	r.Check(n <= 21, "ack-not-checked", "an acknowledgement of a tick that was not sent should change nothing: Config.WindowTicks is 20, but %s was sent %d snapshots", liar.Name, n)
	r.Check(!p.Closed, "slow-client-dropped-at-once", "Config.SlowTicks is 30, and the last snapshot was sent 20 ticks ago, but the client is dropped")
	p.Ack(p.View.Tick)
	r.Tick(1)
	r.Check(p.Snapshots() == 1, "replaced-for-ever", "after an acknowledgement it should be sent snapshots again, but is not")
	r.Did("60 ticks more, in which only %s acknowledges", q.Name)
	for range 60 {
		r.TickQuietly(1)
		q.Snapshots()
		q.SayQuietly(gameclient.AppendAck(nil, q.View.Tick))
	}
	r.Check(p.Closed, "slow-client-kept", "a client that acknowledges nothing for WindowTicks and SlowTicks should be dropped, but is kept")
	r.Check(!q.Closed, "others-wait", "the other client should be served, but is dropped")
}

// Step 9: interest

// near are the players of the world that are in p's cell or in the eight around it.
func near(r *gametest.Room, p *gametest.Player) map[uint32]gameclient.Player {
	r.T().Helper()
	world, _ := state(r)
	me := world[p.Welcome.ID]
	for id, q := range world {
		if cellsApart(gameloop.Player(me), gameloop.Player(q)) > 1 {
			delete(world, id)
		}
	}
	return world
}

func TestStep09_APlayerSeesWhatIsNear(t *testing.T) {
	r := room(t, gameloop.Config{Interest: true, Width: 96, Height: 96, MaxPlayers: 80})
	players := r.JoinMany(80)
	spectator := r.Connect()
	spectator.Enter(gameclient.Spectator, gameclient.Token{})
	r.Tick(1)
	whole := 0
	for _, p := range players {
		if p.Snapshots(); len(p.View.Players) == len(players) {
			whole++
		}
	}
	r.Check(whole == 0, "interest-ignored", "each should see what is near, but sees the whole world")
	for _, p := range players {
		sees(r, p, near(r, p), "wrong-interest")
	}
	spectator.Snapshots()
	world, _ := state(r)
	sees(r, spectator, world, "wrong-interest")
}

func TestStep09_CellsAreLeftAndEntered(t *testing.T) {
	r := room(t, gameloop.Config{Interest: true, Width: 64, Height: 64, MaxPlayers: 30, WindowTicks: 1000})
	players := r.JoinMany(30)
	r.Did("20 players cross the world for 400 ticks, 10 stand still; all acknowledge what they get")
	random := rand.New(rand.NewPCG(20, 21))
	heading := make([][2]int16, len(players))
	seen := make([]map[uint32]map[uint32]gameclient.Player, len(players)) // by tick
	for i := range seen {
		seen[i] = map[uint32]map[uint32]gameclient.Player{}
	}
	var long string // what is not as short as it could be; who sees the wrong players comes first
	for tick := range 400 {
		for i, p := range players {
			if tick%40 == 0 {
				heading[i] = [2]int16{int16(random.IntN(91) - 45), int16(random.IntN(91) - 45)}
			}
			if i%3 > 0 {
				p.Move(heading[i][0], heading[i][1])
			}
		}
		r.TickQuietly(1)
		for i, p := range players {
			p.Snapshots()
			sees(r, p, near(r, p), "wrong-interest")
			seen[i][p.View.Tick] = p.View.Players
			changed, gone := difference(seen[i][p.Head.Base], p.View.Players)
			if long == "" && (p.Head.Changed != changed || p.Head.Gone != gone) {
				long = fmt.Sprintf("the snapshot of tick %d for %s, against tick %d, should have %d records and %d that are gone, but has %d and %d",
					p.Head.Tick, p.Name, p.Head.Base, changed, gone, p.Head.Changed, p.Head.Gone)
			}
			if random.IntN(i+1) < 3 {
				p.SayQuietly(gameclient.AppendAck(nil, p.View.Tick))
			}
		}
	}
	r.Check(long == "", "delta-too-long", "%s", long)
}

// difference is how many players a delta from base to now has, and how many are gone.
func difference(base, now map[uint32]gameclient.Player) (changed, gone int) {
	for id, p := range now {
		if base[id] != p {
			changed++
		}
	}
	for id := range base {
		if _, ok := now[id]; !ok {
			gone++
		}
	}
	return changed, gone
}

func TestStep09_WhoSeesTheSameIsSentTheSameBytes(t *testing.T) {
	r := room(t, gameloop.Config{Interest: true, Width: 24, Height: 24, MaxPlayers: 60})
	players := r.JoinMany(60)
	r.Did("60 players in a world of 3 by 3 cells; two ticks")
	r.TickQuietly(1)
	for _, p := range players {
		p.Read()
	}
	before := stats(r).Encoded
	r.TickQuietly(1)
	if n := stats(r).Encoded - before; n > 9 {
		r.Wrong("encoded-per-client", "there are 9 cells, so at most 9 different views, but %d snapshots were encoded", n)
	}
	buffers := map[*byte]bool{}
	for _, p := range players {
		buffers[p.From] = true
	}
	r.Check(len(buffers) <= 9, "encoded-per-client", "there are 9 cells, so at most 9 different views, but the clients were sent %d buffers", len(buffers))
}

// Step 10: coming back, and time

func TestStep10_ABrokenConnectionCanBeTakenUpAgain(t *testing.T) {
	r := room(t, gameloop.Config{RejoinTicks: 100})
	p := r.Join()
	free := freeDirection(r, p)
	for range 5 {
		p.Move(free[0]*10, free[1]*10)
		r.TickQuietly(1)
	}
	p.Move(free[0]*10, free[1]*10)
	before := at(r, p)
	p.Disconnect(errors.New("connection reset by peer"))
	r.Tick(90)
	world, _ := state(r)
	still, there := world[p.Welcome.ID]
	r.Check(there, "dropped-with-the-connection", "Config.RejoinTicks is 100, and the connection broke 90 ticks ago, but the player is not in the world any more")
	r.Check(still == before, "inputs-outlive-the-connection", "90 ticks after its connection broke the player should stand where it stood, at %+v, but is %+v", before, still)
	q := r.Connect()
	q.Enter(0, p.Welcome.Token)
	r.Check(q.Welcome.ID == p.Welcome.ID && q.Welcome.Sequence == 5 && q.Welcome.Token == p.Welcome.Token, "rejoin-starts-over",
		"who comes back with its token should be player %d again, with 5 inputs applied, but the welcome says player %d and %d", p.Welcome.ID, q.Welcome.ID, q.Welcome.Sequence)
	q.Input(6, free[0]*10, free[1]*10)
	r.Tick(1)
	r.Check(at(r, q).Sequence == 6, "rejoin-starts-over", "its next input should be applied, but is not")
	q.Snapshots()
	world, _ = state(r)
	sees(r, q, world, "wrong-snapshot")
	r.Tick(150)
	_, there = q.View.Players[q.Welcome.ID]
	r.Check(there && at(r, q).ID == q.Welcome.ID, "rejoin-starts-over", "a player that has come back should stay, but was taken out of the world")
}

func TestStep10_WhoDoesNotComeBackIsTakenOut(t *testing.T) {
	r := room(t, gameloop.Config{RejoinTicks: 50})
	p, q := r.Join(), r.Join()
	p.Disconnect(nil)
	r.Tick(60)
	world, _ := state(r)
	_, there := world[p.Welcome.ID]
	r.Check(!there, "player-stays-for-ever", "Config.RejoinTicks is 50, and the connection broke 60 ticks ago, but the player is still in the world")
	s := r.Connect()
	s.Say(gameclient.AppendJoin(nil, 0, p.Welcome.Token), "a join with its token")
	refused(r, s, gameclient.ErrorToken, "token-outlives-the-player", "the player is gone")
	q.Say(gameclient.AppendLeave(nil), "a leave")
	s = r.Connect()
	s.Say(gameclient.AppendJoin(nil, 0, q.Welcome.Token), "a join with the token of the one who has left")
	refused(r, s, gameclient.ErrorToken, "token-outlives-the-player", "the player has left")
}

func TestStep10_TheNewConnectionReplacesTheOld(t *testing.T) {
	r := room(t, gameloop.Config{RejoinTicks: 20})
	old := r.Join()
	other := r.Connect()
	r.Did("%s joins with the token of %s, whose connection is still open", other.Name, old.Name)
	other.Enter(0, old.Welcome.Token)
	refused(r, old, gameclient.ErrorReplaced, "two-connections-one-player", "another connection has taken the player")
	old.SayQuietly(gameclient.AppendInput(nil, 1, 1, 0))
	s := stats(r)
	r.Check(s.InputsQueued == 0, "two-connections-one-player", "the old connection has lost the player, but its inputs are still taken")
	old.Disconnect(nil)
	other.Input(1, 0, 0)
	r.Tick(1)
	r.Check(at(r, other).Sequence == 1, "two-connections-one-player", "the player belongs to the new connection, but its input was not applied when the old one had closed")
	r.Tick(30)
	r.Check(at(r, other).ID == other.Welcome.ID, "two-connections-one-player", "the player belongs to the new connection, but is taken out of the world Config.RejoinTicks after the old one ended")
}

func TestStep10_SilenceHasAnEnd(t *testing.T) {
	r := room(t, gameloop.Config{IdleTicks: 100, JoinTicks: 30, WindowTicks: 1000})
	quiet, alive, dribbler, stranger, halfway := r.Join(), r.Join(), r.Join(), r.Connect(), r.Connect()
	r.Did("%s sends nothing more, %s a ping now and then, %s a byte of a ping now and then; %s has not joined, %s sends its join a byte at a time",
		quiet.Name, alive.Name, dribbler.Name, stranger.Name, halfway.Name)
	dribbler.Read()
	spectator := r.Connect()
	spectator.Enter(gameclient.Spectator, gameclient.Token{})
	babbler := r.Join()
	babbler.Say(gameclient.AppendJoin(nil, 0, gameclient.Token{}), "a second join, and pings now and then after it")
	for tick := range 400 {
		if tick%40 == 0 {
			alive.SayQuietly(gameclient.AppendPing(nil, 1))
		}
		if tick%20 == 0 {
			babbler.SayQuietly(gameclient.AppendPing(nil, 1))
		}
		if tick%25 == 0 && tick < 250 {
			dribbler.SayQuietly(gameclient.AppendPing(nil, 1)[tick/25 : tick/25+1])
			halfway.SayQuietly(gameclient.AppendJoin(nil, 0, gameclient.Token{})[tick/25 : tick/25+1])
		}
		r.TickQuietly(1)
		if tick == 28 {
			r.Check(!stranger.Finished && !halfway.Finished, "idle-too-soon", "Config.JoinTicks is 30, but a connection that has not joined is ended before")
		}
		if tick == 98 {
			r.Check(!quiet.Finished, "idle-too-soon", "Config.IdleTicks is 100, but a silent client is refused before")
		}
		if tick == 45 {
			refused(r, stranger, gameclient.ErrorIdle, "silent-connection-kept", "it has not joined for 45 ticks")
			refused(r, halfway, gameclient.ErrorIdle, "half-frame-counts-as-life", "it has not joined for 45 ticks, only sent some bytes")
		}
		if tick == 120 {
			refused(r, quiet, gameclient.ErrorIdle, "silent-connection-kept", "nothing was heard of it for 120 ticks")
			refused(r, spectator, gameclient.ErrorIdle, "silent-connection-kept", "nothing was heard of this spectator for 120 ticks")
			refused(r, dribbler, gameclient.ErrorIdle, "half-frame-counts-as-life", "for 120 ticks it has sent single bytes and no frame")
		}
	}
	r.Check(!alive.Finished, "busy-taken-for-idle", "a client that sends a frame every 40 ticks is not silent, but was refused")
	r.Check(babbler.Closed, "refused-and-kept", "a client that was refused should be closed after Config.JoinTicks, whatever it sends, but is not")
	r.Check(quiet.Closed && stranger.Closed, "refused-and-kept", "a client that was refused and does not close should be closed after Config.JoinTicks, but is not")
	s := stats(r)
	r.Check(s.Clients == 1, "clients-not-forgotten", "one client is left, but Stats.Clients is %d", s.Clients)
}

func TestStep10_TheEndIsAnnounced(t *testing.T) {
	r := room(t, gameloop.Config{})
	p, spectator, stranger := r.Join(), r.Connect(), r.Connect()
	spectator.Enter(gameclient.Spectator, gameclient.Token{})
	r.Did("Shutdown")
	r.Do(r.Game.Shutdown)
	refused(r, p, gameclient.ErrorShutdown, "shutdown-without-a-word", "the server shuts down")
	refused(r, spectator, gameclient.ErrorShutdown, "shutdown-without-a-word", "the server shuts down")
	refused(r, stranger, gameclient.ErrorShutdown, "shutdown-without-a-word", "the server shuts down")
}
