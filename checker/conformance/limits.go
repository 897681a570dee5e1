package conformance

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// RunsOutOfDescriptorsAndRecovers: there are descriptors for some of the waiting
// clients only. The engine serves those, does not spin over the rest, and serves
// newcomers when there are descriptors again.
func RunsOutOfDescriptorsAndRecovers(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	first := l.Dial()
	waiting := l.DialMany(20)
	release := l.Starve(8)
	l.Resume()
	first.Echo([]byte("served"))
	l.SuspectNext(labtest.Rule{ID: "emfile-spins", For: []labtest.Symptom{labtest.Busy}, When: func(s *labtest.Scene) bool { return s.Listener.AcceptQueue > 0 }})
	l.WantIdleBut(60) // it may look again now and then, and be woken twice for it
	first.Echo([]byte("still served"))

	l.Did("descriptors come free")
	release()
	served := 0
	for _, c := range waiting {
		if c.EchoOrGone([]byte("me too")) {
			served++
		}
	}
	c := l.Dial()
	c.Suspect(labtest.Rule{ID: "accept-never-resumed", For: []labtest.Symptom{labtest.NoData}})
	c.Echo([]byte("a newcomer"))
	l.Did("%d of the 20 that waited were served, the others refused", served)
	if served == 0 {
		l.Fail(labtest.Failure{Symptom: labtest.CountLow, Problem: "those for whom there were descriptors should be served, but all were refused"})
	}
	l.SuspectNext()
	l.WantIdle()
}

// AcceptingGoesOnByItself: the descriptors ran out while clients wait, and come free
// elsewhere in the process. Nothing tells the loop; it looks again by itself, also from a
// Poll without limit.
func AcceptingGoesOnByItself(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	l.DialMany(20)
	release := l.Starve(8)
	l.Did("three turns")
	for range 3 {
		l.Turn(0)
	}
	l.Did("descriptors come free; Poll(1m), again and again, until all are accepted or refused")
	release()
	for {
		var s engine.Stats
		l.Do(func(e engine.Engine) { s = e.Stats() })
		if s.Accepts+s.Refused >= 20 {
			return
		}
		if took := l.TurnWithin(time.Minute); took > labtest.Patience {
			l.Got("%d accepted, %d refused, and a Poll that waits", s.Accepts, s.Refused)
			l.Fail(labtest.Failure{Symptom: labtest.CountLow, Suspect: "accept-never-resumed",
				Problem: fmt.Sprintf("Poll should not wait for long while %d clients are in the accept queue and there are descriptors again, but does", 20-s.Accepts-s.Refused)})
		}
	}
}

// AnAcceptThatKeepsFailingIsNoBusyLoop: the listener is shut down behind the engine's
// back, and each accept fails at once, and for ever.
func AnAcceptThatKeepsFailingIsNoBusyLoop(t *testing.T, newEngine Engine) {
	l := start(t, newEngine)
	c := l.Dial()
	c.Echo([]byte("served"))
	l.Pause()
	l.Did("shut the listener down: from now on accept fails")
	if !labtest.ShutDown(l.Listener()) {
		return // not every system does it, and then nobody can do it to the engine
	}
	var err error
	l.Do(func(e engine.Engine) {
		for n := 0; n < 3 && err == nil; n++ {
			err = e.Poll(10 * time.Millisecond)
		}
	})
	if err != nil {
		return // it gives up, and says why: no busy loop either
	}
	l.Did("Poll(%v), %d times", pause, pauses)
	if waits := waitsOf(l); waits < pauses/4 { // it may look again now and then
		l.Got("%d of them waited", waits)
		l.Fail(labtest.Failure{Symptom: labtest.Busy, Suspect: "accept-error-spins",
			Problem: fmt.Sprintf("an engine that cannot accept should wait before it tries again, but of %d turns %d waited", pauses, waits)})
	}
	l.Resume()
	c.Echo([]byte("still served"))
}

// MaxConnectionsIsKept: those beyond the limit are closed and counted, and there is
// room again when one has left.
func MaxConnectionsIsKept(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{MaxConnections: 3}))
	in := l.DialMany(3)
	l.WantCount(3)
	for refused := range uint64(5) {
		extra := l.Dial()
		l.Did("%s should be refused", extra.Name)
		l.Eventually(labtest.Failure{Symptom: labtest.CountHigh, Client: extra, Suspect: "max-connections-ignored",
			Problem: "each client beyond MaxConnections should be counted in Stats.Refused, but one is not"},
			func(e engine.Engine) bool { return e.Stats().Refused == refused+1 })
		extra.WantGone()
	}
	in[1].Echo([]byte("undisturbed"))
	in[0].Close()
	l.WantCount(2)
	next := l.Dial()
	next.Suspect(labtest.Rule{ID: "place-not-given-back", When: func(s *labtest.Scene) bool { return s.Stats.Refused > 5 }})
	next.Echo([]byte("room again"))
	l.WantCount(3)
}

// IdleConnectionsAreClosed: a silent connection is closed with ErrIdleTimeout; those are
// not on which bytes move, both ways, only in, or only out. When it is closed the engine
// sleeps again, until the next may be due.
func IdleConnectionsAreClosed(t *testing.T, newEngine Engine) {
	for timeout := time.Second; timeout < 10*time.Second; timeout *= 2 {
		if idleConnectionsAreClosed(t, newEngine, timeout) {
			return
		}
	}
}

// idleConnectionsAreClosed tells whether the clients that should move bytes all the time
// did so: on a machine with much else to do they may not get to it.
func idleConnectionsAreClosed(t *testing.T, newEngine Engine, timeout time.Duration) (moved bool) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{IdleTimeout: timeout, HighWater: 64 << 20}),
		labtest.WithHandler(service{data: func(c engine.Conn, data []byte) {
			if data[0] == '.' { // echo
				c.Send(data)
			}
		}}))
	begun := time.Now()
	talker, uploader := l.Dial(), l.Dial()
	talker.WantOpen()
	// What is read in a round should be more than the kernels hold, so that the engine has
	// to write in each; in all there is enough for 128 rounds.
	dial, sip := l.Dial, 256<<10
	if talker.ServerFD() >= 0 { // otherwise its buffer cannot be made small
		dial, sip = l.DialSmall, 32<<10
	}
	downloader, answer := dial(), make([]byte, 128*sip)
	conn := downloader.WantOpen()
	labtest.SetSendBuffer(downloader.ServerFD(), 16<<10)
	l.Do(func(engine.Engine) { conn.Send(answer) })
	downloader.Sip(1)
	silent := l.Dial() // the last, so that its time is over after theirs would be
	silent.WantOpen()
	silent.Suspect(labtest.Rule{ID: "idle-not-closed", For: []labtest.Symptom{labtest.NoOnClose}})
	l.Did("%s sends and reads back, %s only sends, %s only reads the %d MiB that it was sent, a little at a time", talker.Name, uploader.Name, downloader.Name, len(answer)>>20)
	var longest time.Duration // between two rounds, or before the first
	stop := l.InBackground(func(done <-chan struct{}) {
		for last := begun; ; {
			select {
			case <-done:
				longest = max(longest, time.Since(last))
				return
			case <-time.After(timeout / 20):
				talker.Ping()
				uploader.Chirp()
				downloader.Sip(sip)
				longest = max(longest, time.Since(last))
				last = time.Now()
			}
		}
	})
	err := silent.WantClosedAfter(timeout)
	if !errors.Is(err, engine.ErrIdleTimeout) {
		stop()
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: silent, Problem: fmt.Sprintf("OnClose should get ErrIdleTimeout, but got %v", err)})
	}
	stop()
	others := []*labtest.Client{talker, uploader, downloader}
	if moved = longest <= timeout/2; moved {
		l.Did("look whether the others are still there")
		for _, c := range others {
			if c.IsClosed() {
				l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "active-taken-for-idle",
					Problem: fmt.Sprintf("%s moved bytes all the time and should stay open, but was closed", c.Name)})
			}
		}
	} else {
		l.CloseAll(others)
		l.WantCount(0)
	}
	silent.WantGone()
	if !labtest.UnderWine() { // where a send under way costs the waiting thread time
		l.SuspectNext(labtest.Rule{ID: "idle-alarm-in-the-past", For: []labtest.Symptom{labtest.Busy}, When: func(s *labtest.Scene) bool { return s.Ready == nil }})
		l.WantIdle()
		l.SuspectNext()
	}
	return moved
}

// AnIdleTimeoutNeedsNoTraffic: the loop wakes up by itself to close an idle
// connection, also from a Poll without limit; and when there is none any more, it sleeps.
func AnIdleTimeoutNeedsNoTraffic(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithConfig(engine.Config{IdleTimeout: 50 * time.Millisecond}))
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 || e.Stats().Accepts == 1 })
	l.Did("Poll(1m), again and again, until the connection is gone")
	for start := time.Now(); ; {
		var n int
		l.Do(func(e engine.Engine) { n = e.ConnectionCount() })
		if n == 0 {
			break
		}
		if took := l.TurnWithin(time.Minute); took > labtest.Patience || time.Since(start) > 2*labtest.Patience {
			l.Fail(labtest.Failure{Symptom: labtest.NoOnClose, Client: c, Suspect: "idle-not-closed",
				Problem: "Poll should come back in time to close an idle connection, but waited for other things"})
		}
	}
	l.Resume() // where the kernel has to let go of the connection first, its descriptor is closed in a later turn
	c.WantGone()
	l.WantIdleBut(50) // an engine that looks eight times in a timeout makes forty turns
}

// SlowTurnsAreCounted: a handler that blocks shows in Stats, waiting does not.
func SlowTurnsAreCounted(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithConfig(engine.Config{TurnBudget: 100 * time.Millisecond}),
		labtest.WithHandler(service{data: func(_ engine.Conn, data []byte) {
			if string(data) == "block" {
				time.Sleep(150 * time.Millisecond)
			}
		}}))
	l.Turn(200 * time.Millisecond)
	if s := l.Stats(); s.SlowTurns != 0 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "waiting-counted-as-busy", Problem: "a turn that only waited should not count as slow, but does"})
	}
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	c.Send([]byte("block"))
	l.Did("the handler blocks for 150 ms, the budget of a turn is 100 ms")
	l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Client: c, Problem: "the client's bytes should arrive, but do not"},
		func(engine.Engine) bool { return c.Received() == 5 })
	if s := l.Stats(); s.SlowTurns == 0 || s.LongestTurn < 150*time.Millisecond {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "slow-turn-not-counted",
			Problem: fmt.Sprintf("a turn of 150 ms should be counted (SlowTurns 1, LongestTurn 150ms), but Stats show %d and %v", s.SlowTurns, s.LongestTurn)})
	}
}
