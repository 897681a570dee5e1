package gameloop_test

import (
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"iolab/checker/gameclient"
	"iolab/checker/labtest"
	gameloop "iolab/lessons/07-game-loop"
	"iolab/lessons/engine"
	"iolab/lessons/engine/engines"
)

// The game on every engine that this system has: the solutions', and the reader's own as
// far as they are written.

// on runs a test on each of them.
func on(t *testing.T, f func(t *testing.T, e engines.Engine)) {
	for _, e := range engines.All() {
		t.Run(e.Name, func(t *testing.T) { f(t, e) })
	}
}

// server is a game on an engine, with a clock that only the test moves.
type server struct {
	*labtest.Lab
	game *gameloop.Game
	loop *gameloop.Loop
}

// start starts the game on e. A reader's engine that is not written yet skips the test.
func start(t *testing.T, e engines.Engine, cfg gameloop.Config) *server {
	t.Helper()
	s := &server{}
	if !e.Solution() && !written(e) {
		t.Skipf("your own %s (lesson %02d) is not written yet, or not complete", e.Name, e.Lesson)
	}
	s.Lab = labtest.Part(t)
	s.Did("a game on %s (%s)", e.Name, e.How)
	var err error
	do(s.Lab, func() {
		s.game = gameloop.New(cfg)
		var below engine.Engine
		if below, err = e.New(engine.Config{}, s.game); err == nil {
			s.loop = gameloop.NewLoop(below, s.game, gameloop.LoopConfig{Now: func() time.Time { return time.Unix(1, 0) }})
		}
	})
	if err != nil {
		if !e.Solution() {
			t.Skipf("your own %s does not start: %v", e.Name, err)
		}
		s.Unavailable("%s does not start here: %v", e.Name, err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			do(s.Lab, func() { err = s.loop.Close() })
		}
	})
	return s
}

// tried has what written found, by name: an engine that never echoes costs its time once.
var tried = map[string]bool{}

// written says whether a reader's engine serves an echo: what is not written yet panics.
func written(e engines.Engine) (ok bool) {
	if ok, known := tried[e.Name]; known {
		return ok
	}
	defer func() {
		if recover() != nil {
			ok = false
		}
		tried[e.Name] = ok
	}()
	server, err := e.New(engine.Config{}, engine.Echo{})
	if err != nil {
		return false
	}
	defer server.Close()
	conn, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.Write([]byte("x"))
	for end := time.Now().Add(labtest.Patience); time.Now().Before(end); {
		if server.Poll(time.Millisecond) != nil {
			return false
		}
		conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, _ := conn.Read(make([]byte, 1)); n == 1 {
			return true
		}
	}
	return false
}

// until makes turns until cond holds.
func (s *server) until(what string, cond func() bool) {
	s.T().Helper()
	if !s.turns(cond) {
		wrong(s.Lab, "game-does-not-get-it", "%s, but nothing of the kind happens", what)
	}
}

// turns is Polls until cond holds, and whether it does in the end. Each is a call of its
// own, since together they may take longer than the lab waits for one: twice as long, so
// that a client that waits gives up first, and says more.
func (s *server) turns(cond func() bool) (ok bool) {
	s.T().Helper()
	for end := time.Now().Add(2 * labtest.Patience); !ok && time.Now().Before(end); {
		var err error
		do(s.Lab, func() {
			if err = s.loop.Poll(time.Millisecond); err == nil {
				ok = cond()
			}
		})
		if err != nil {
			wrong(s.Lab, "loop-fails", "Poll should return nil, but returned %q", err)
		}
	}
	return ok
}

// script is what 12 players do in 60 ticks, known beforehand.
func script(player, tick int) (dx, dy int16) {
	angle := [8][2]int16{{45, 0}, {30, 30}, {0, 45}, {-30, 30}, {-45, 0}, {-30, -30}, {0, -45}, {30, -30}}
	d := angle[(player*5+tick/(6+player%4))%8]
	return d[0], d[1]
}

// play runs the script on an engine, over TCP, and returns the hash after each tick.
func play(t *testing.T, e engines.Engine) (hashes []uint64) {
	t.Helper()
	const players, ticks = 12, 60
	s := start(t, e, gameloop.Config{Width: 24, Height: 24, Seed: 3, MaxPlayers: players})
	var clients []*gameclient.Client
	s.Did("%d players join, and each sends an input for each of %d ticks", players, ticks)
	for range players {
		conn, err := net.Dial("tcp", s.loop.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		joined := make(chan *gameclient.Client, 1)
		failed := make(chan error, 1)
		go func() {
			c, err := gameclient.Enter(conn, gameclient.Options{Timeout: labtest.Patience})
			if err != nil {
				failed <- err
				return
			}
			joined <- c
		}()
		s.until("a client's join should be answered", func() bool { return len(joined) > 0 || len(failed) > 0 })
		select {
		case c := <-joined:
			clients = append(clients, c)
		case err := <-failed:
			wrong(s.Lab, "no-welcome", "a join on %s should be answered with a welcome, but: %v", e.Name, err)
		}
	}
	for tick := range ticks {
		for i, c := range clients {
			if err := c.Move(script(i, tick)); err != nil {
				wrong(s.Lab, "game-does-not-get-it", "player %d should be able to send its input for tick %d on %s, but: %v", i+1, tick+1, e.Name, err)
			}
		}
		s.until(fmt.Sprintf("the inputs of tick %d should arrive on %s", tick+1, e.Name), func() bool { return s.game.Stats().InputsQueued == players })
		do(s.Lab, func() {
			s.game.Step()
			s.game.Broadcast()
			hashes = append(hashes, s.game.World().Hash())
		})
	}
	s.Did("the clients look at what they were sent")
	done := make(chan error, players)
	for _, c := range clients {
		go func() { done <- watch(c, ticks) }()
	}
	s.until("every client should be sent the last tick's snapshot", func() bool { return len(done) == players })
	for range clients {
		if err := <-done; err != nil {
			wrong(s.Lab, "wrong-snapshot", "on %s: %v", e.Name, err)
		}
	}
	world := map[uint32]gameclient.Player{}
	do(s.Lab, func() {
		for _, p := range s.game.World().Players {
			if p.ID != 0 {
				world[p.ID] = gameclient.Player(p)
			}
		}
	})
	for i, c := range clients {
		if fmt.Sprint(c.View.Players) != fmt.Sprint(world) {
			wrong(s.Lab, "wrong-snapshot", "on %s client %d should see the world as it is after tick %d, but sees another", e.Name, i+1, ticks)
		}
	}
	return hashes
}

// watch reads until the snapshot of tick has come.
func watch(c *gameclient.Client, tick uint32) error {
	c.Conn.SetReadDeadline(time.Now().Add(labtest.Patience))
	for c.View.Tick < tick {
		if _, _, err := c.Next(); err != nil {
			return fmt.Errorf("after the snapshot of tick %d: %w", c.View.Tick, err)
		}
	}
	return nil
}

func TestStep10_TheSameInputsMakeTheSameHashesOnEveryEngine(t *testing.T) {
	var first []uint64
	var name string
	on(t, func(t *testing.T, e engines.Engine) {
		hashes := play(t, e)
		if first == nil {
			first, name = hashes, e.Name
		}
		if !slices.Equal(hashes, first) {
			l := labtest.Part(t)
			wrong(l, "not-deterministic", "the same inputs should lead to the same hash after each tick on every engine, but %s and %s differ", name, e.Name)
		}
	})
}

func TestStep10_TheTimeIsKeptOnEveryEngine(t *testing.T) {
	on(t, func(t *testing.T, e engines.Engine) {
		if !e.Solution() {
			t.Skip("the time is the solutions' engines' to show; yours is measured by checker bench")
		}
		s := start(t, e, gameloop.Config{})
		s.Did("three quarters of a second on the real clock")
		var ticks uint64
		var err error
		var least, took time.Duration
		do(s.Lab, func() {
			// The loop's own readings of the clock: between them and any of ours the
			// machine may stand still. What was due at the first of the last turn is made
			// in that turn, however often a loop looks.
			var begin, first, last time.Time
			loop := gameloop.NewLoop(s.loop.Engine, s.game, gameloop.LoopConfig{Now: func() time.Time {
				last = time.Now()
				if begin.IsZero() {
					begin = last
				}
				if first.IsZero() {
					first = last
				}
				return last
			}})
			for took < 750*time.Millisecond && err == nil {
				first = time.Time{}
				err = loop.Poll(-1)
				took = last.Sub(begin)
			}
			least = first.Sub(begin)
			stats := loop.LoopStats()
			ticks = stats.Ticks + stats.Dropped
		})
		want := uint64(took * 60 / time.Second)
		if err != nil || ticks+1 < uint64(least*60/time.Second) || ticks > want+1 {
			wrong(s.Lab, "deadline-drifts", "%v are %d ticks at 60 a second, but the loop on %s has made or dropped %d (error %v)", took, want, e.Name, ticks, err)
		}
	})
}

// A join and two pings that come together are three questions. An engine that sends with
// its next Poll has two answers in the queue when the third is due.
func TestStep10_EveryQuestionOfATurnIsAnswered(t *testing.T) {
	on(t, func(t *testing.T, e engines.Engine) {
		s := start(t, e, gameloop.Config{})
		s.Did("a client sends a join and two pings in one write")
		conn, err := net.Dial("tcp", s.loop.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(labtest.Patience))
		if _, err := conn.Write(gameclient.AppendPing(gameclient.AppendPing(gameclient.AppendJoin(nil, 0, gameclient.Token{}), 1), 2)); err != nil {
			t.Fatal(err)
		}
		var answers atomic.Int32
		go func() {
			for r := gameclient.NewReader(conn); ; answers.Add(1) {
				if _, _, err := r.Next(); err != nil {
					return
				}
			}
		}()
		if !s.turns(func() bool { return answers.Load() >= 3 }) {
			wrong(s.Lab, "answer-taken-for-backlog", "a join and two pings on %s should be answered by a welcome and two pongs, but %d frames came", e.Name, answers.Load())
		}
	})
}

func TestStep10_AShutdownReachesTheClients(t *testing.T) {
	on(t, func(t *testing.T, e engines.Engine) {
		if !e.Solution() {
			t.Skip("shown on the solutions' engines")
		}
		s := start(t, e, gameloop.Config{})
		joined := make(chan error, 1)
		refused := make(chan error, 1)
		go func() {
			c, err := gameclient.Dial(s.loop.Addr().String(), gameclient.Options{Timeout: labtest.Patience})
			joined <- err
			if err != nil {
				return
			}
			defer c.Conn.Close()
			c.Conn.SetReadDeadline(time.Now().Add(labtest.Patience))
			for err == nil {
				_, _, err = c.Next()
			}
			refused <- err
		}()
		s.until("a client's join should be answered", func() bool { return len(joined) > 0 })
		if err := <-joined; err != nil {
			wrong(s.Lab, "no-welcome", "a join on %s should be answered with a welcome, but: %v", e.Name, err)
		}
		s.Did("Loop.Shutdown")
		var err error
		do(s.Lab, func() { err = s.loop.Shutdown(t.Context()) })
		got := <-refused
		if err != nil || !gameclient.IsRefusal(got, gameclient.ErrorShutdown) {
			wrong(s.Lab, "shutdown-without-a-word", "on %s the client should be told that the server shuts down, but gets %q, and Shutdown returned %v", e.Name, got, err)
		}
	})
}

// hostile connects and writes something again and again, until the test is over or the
// server has had enough.
func hostile(t *testing.T, addr string, first, then []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		conn.Write(first)
		for len(then) > 0 {
			if _, err := conn.Write(then); err != nil {
				return
			}
		}
	}()
}

func TestStep10_HostileClientsCostTheOthersNothing(t *testing.T) {
	on(t, func(t *testing.T, e engines.Engine) {
		if !e.Solution() {
			t.Skip("shown on the solutions' engines")
		}
		s := start(t, e, gameloop.Config{})
		addr := s.loop.Addr().String()
		s.Did("an honest player joins; others send floods of pings and inputs, a giant length, half a frame, inputs from the future")
		joined := make(chan *gameclient.Client, 1)
		failed := make(chan error, 1)
		go func() {
			c, err := gameclient.Dial(addr, gameclient.Options{Timeout: labtest.Patience})
			if err != nil {
				failed <- err
				return
			}
			joined <- c
		}()
		s.until("the honest player's join should be answered", func() bool { return len(joined)+len(failed) > 0 })
		if len(failed) > 0 {
			wrong(s.Lab, "no-welcome", "a join on %s should be answered with a welcome, but: %v", e.Name, <-failed)
		}
		honest := <-joined
		defer honest.Conn.Close()

		join := gameclient.AppendJoin(nil, 0, gameclient.Token{})
		var pings, inputs []byte
		for range 1000 {
			pings = gameclient.AppendPing(pings, 1)
			inputs = gameclient.AppendInput(inputs, 1<<31, 1, 1)
		}
		hostile(t, addr, join, pings)
		hostile(t, addr, join, inputs)
		hostile(t, addr, []byte{255, 255, 255, 255}, make([]byte, 64<<10))
		hostile(t, addr, join[:9], nil)
		hostile(t, addr, join, nil)

		for tick := range 30 {
			if err := honest.Move(1, 0); err != nil {
				wrong(s.Lab, "others-wait", "the honest player should be able to send its input on %s, but: %v", e.Name, err)
			}
			sequence := uint32(tick + 1)
			s.until(fmt.Sprintf("input %d of the honest player should arrive on %s", sequence, e.Name), func() bool { return s.game.Stats().InputsQueued > 0 })
			var applied uint32
			do(s.Lab, func() {
				s.game.Step()
				s.game.Broadcast()
				for _, p := range s.game.World().Players {
					if p.ID == honest.Welcome.ID {
						applied = p.Sequence
					}
				}
			})
			if applied != sequence {
				wrong(s.Lab, "others-wait", "the honest player's input %d should be applied at its tick on %s, but the last is %d", sequence, e.Name, applied)
			}
		}
		s.until("the floods and the giant length should be refused", func() bool { return s.game.Stats().Refused >= 3 })
		done := make(chan error, 1)
		go func() { done <- watch(honest, 30) }()
		s.until("the honest player should be sent the last tick's snapshot", func() bool { return len(done) > 0 })
		if err := <-done; err != nil {
			wrong(s.Lab, "others-wait", "on %s the honest player: %v", e.Name, err)
		}
	})
}
