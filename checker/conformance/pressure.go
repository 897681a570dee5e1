package conformance

import (
	"errors"
	"fmt"
	"testing"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// ASlowReaderIsNotReadFrom: a client sends without end and reads nothing. The engine
// stops reading from it: its queue stays near the high-water mark, everybody else is
// served, and when the client reads at last it gets everything.
func ASlowReaderIsNotReadFrom(t *testing.T, newEngine Engine) {
	cfg := engine.Config{HighWater: 64 << 10, LowWater: 16 << 10, HardLimit: 256 << 20}
	l := start(t, newEngine, labtest.WithConfig(cfg))
	slow, other := l.DialSmall(), l.Dial()
	conn := slow.WantOpen()
	data := labtest.Pattern(3, 48<<20)
	slow.SendInBackground(data)
	slow.WaitStalled()

	var queued int
	l.Do(func(engine.Engine) { queued = conn.Queued() })
	held := slow.Held()
	l.Did("look at what the engine holds for %s", slow.Name)
	l.Got("Queued() is %d bytes; seen from outside it is %d", queued, held)
	if limit := cfg.HighWater + 2*l.Config().ReadBudget; max(int64(queued), held) > int64(limit) {
		l.Fail(labtest.Failure{Symptom: labtest.MemoryGrows, Client: slow, Suspect: "no-backpressure",
			Problem: fmt.Sprintf("what the engine holds for a client that does not read should stay near the high-water mark (%d bytes, and a read or two of %d), but it holds %d", cfg.HighWater, l.Config().ReadBudget, max(int64(queued), held))})
	}
	other.Echo([]byte("and I?"))
	l.WantIdle()

	slow.Want(data)
	slow.WaitSent()
	slow.Echo([]byte("all there"))
}

var rdhupWhilePaused = labtest.Rule{ID: "rdhup-while-paused", For: []labtest.Symptom{labtest.Busy},
	When: func(s *labtest.Scene) bool { return s.AnyArmed("EPOLLRDHUP", "EPOLLIN") }}

// APausedClientThatEndsIsQuiet: the queue is above the high-water mark when the client
// ends its output. Its end of data waits to be read, and must not keep the loop busy. One
// that resets is not waited for: it is gone.
func APausedClientThatEndsIsQuiet(t *testing.T, newEngine Engine) {
	answer := labtest.Pattern(4, 16<<20)
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 10, HardLimit: 64 << 20}),
		labtest.WithHandler(service{open: func(c engine.Conn) { c.Send(answer) }}))
	l.Did("in OnOpen the handler sends 16 MiB")
	c := l.DialSmall()
	c.WantOpen()
	c.CloseWrite()
	c.WaitDelivered()
	l.SuspectNext(rdhupWhilePaused)
	l.WantIdle()
	c.Want(answer)
	c.WantEOF()
	c.WantClosed()
	if labtest.UnderWine() {
		return // it may not tell of the reset: see AResetWhileWritingHurtsNobody
	}
	l.SuspectNext()
	rude := l.DialSmall()
	rude.WantOpen()
	rude.Reset()
	if err := rude.WantClosed(); err == nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: rude, Suspect: "reset-not-reported",
			Problem: "OnClose should get the error of a client that reset, but got nil"})
	}
}

// ReadingGoesOnAtTheLowWaterMark: between the two marks a paused client stays paused.
func ReadingGoesOnAtTheLowWaterMark(t *testing.T, newEngine Engine) {
	cfg := engine.Config{HighWater: 4 << 20, LowWater: 64 << 10, HardLimit: 64 << 20}
	answer := labtest.Pattern(11, 16<<20)
	l := start(t, newEngine, labtest.WithConfig(cfg), labtest.WithHandler(service{open: func(c engine.Conn) { c.Send(answer) }}))
	l.Did("in OnOpen the handler sends 16 MiB")
	c := l.DialSmall()
	conn := c.WantOpen()
	c.Send([]byte("anybody there?"))
	c.WaitDelivered()
	l.Did("%s reads, bit by bit, until its queue is at the low-water mark", c.Name)
	const bit = 64 << 10
	for rest := answer; len(rest) > 0; rest = rest[bit:] {
		c.WantQuietly(rest[:bit])
		var queued int
		var heard int64
		l.Do(func(engine.Engine) { queued, heard = conn.Queued(), c.Received() })
		if queued > cfg.LowWater && heard > 0 {
			l.Got("%d bytes are queued, and it was read from", queued)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "low-water-ignored",
				Problem: fmt.Sprintf("a client whose queue was above the high-water mark should not be read from before it has drained to the low-water mark (%d bytes), but was at %d", cfg.LowWater, queued)})
		}
	}
	l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "reading should go on when the queue has drained, but does not"},
		func(engine.Engine) bool { return c.Received() == 14 })
}

// SendStopsAtTheHardLimit: a broadcaster meets ErrBackpressure, and the peer gets all
// that was accepted and nothing of what was not.
func SendStopsAtTheHardLimit(t *testing.T, newEngine Engine) {
	cfg := engine.Config{HighWater: 64 << 10, HardLimit: 1 << 20}
	l := start(t, newEngine, labtest.WithConfig(cfg), labtest.WithHandler(service{}))
	c := l.DialSmall()
	conn := c.WantOpen()
	var accepted []byte
	var last error
	most := 0
	huge := labtest.Pattern(8888, cfg.HardLimit+16<<20) // more than the limit and the socket buffers together
	l.Did("Send %d bytes at once, to an empty queue", len(huge))
	l.Do(func(engine.Engine) { last = conn.Send(huge) })
	l.Got("%v", last)
	if !errors.Is(last, engine.ErrBackpressure) {
		l.Fail(labtest.Failure{Symptom: labtest.MemoryGrows, Client: c, Suspect: "hard-limit-ignored",
			Problem: fmt.Sprintf("Send should return ErrBackpressure for a message that the queue may not hold, but returned %v", last)})
	}
	l.Do(func(engine.Engine) { most = conn.Queued() })
	if most > 0 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "backpressure-keeps-a-part",
			Problem: fmt.Sprintf("Send should keep nothing of a message that it refuses with ErrBackpressure, but %d bytes of it are queued", most)})
	}
	l.Did("Send 40000 bytes again and again, until it fails")
	l.Do(func(engine.Engine) {
		for i := range 500 { // 20 MB: more than the socket buffers hold
			message := labtest.Pattern(i, 40_000)
			if last = conn.Send(message); last != nil {
				break
			}
			accepted = append(accepted, message...)
			most = max(most, conn.Queued())
		}
	})
	l.Got("%d bytes accepted, then %v", len(accepted), last)
	if !errors.Is(last, engine.ErrBackpressure) || most > cfg.HardLimit {
		l.Fail(labtest.Failure{Symptom: labtest.MemoryGrows, Client: c, Suspect: "hard-limit-ignored",
			Problem: fmt.Sprintf("Send should return ErrBackpressure before more than %d bytes are queued, but %d were queued and the last Send returned %v", cfg.HardLimit, most, last)})
	}
	c.Suspect(labtest.Rule{ID: "backpressure-keeps-a-part", For: []labtest.Symptom{labtest.WrongBytes}})
	c.Want(accepted)
	marker := labtest.Pattern(9999, 100)
	l.Did("Send 100 bytes more")
	l.Do(func(engine.Engine) { last = conn.Send(marker) })
	if last != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Problem: fmt.Sprintf("Send should work again when the queue has drained, but returned %v", last)})
	}
	c.Want(marker)
}

// AFloodDoesNotStarveOthers: one client's receive queue is full, another sends one
// byte: a turn serves both, and takes no more than the read budget from the first.
func AFloodDoesNotStarveOthers(t *testing.T, newEngine Engine) {
	const budget = 16 << 10
	var k collector
	l := start(t, newEngine, labtest.Paused(), labtest.WithConfig(engine.Config{ReadBudget: budget}), labtest.WithHandler(k.service()))
	l.Did("the handler sends nothing")
	flood, quiet := l.Dial(), l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "2 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 2 })
	flood.SendInBackground(labtest.Pattern(5, 64<<20))
	flood.WaitStalled()
	for i := range 10 {
		had, hadFlood := quiet.Received(), flood.Received()
		quiet.Send([]byte("x"))
		quiet.WaitDelivered()
		l.Did("two turns")
		l.Turn(0)
		l.Turn(0)
		if took := flood.Received() - hadFlood; took > 2*budget {
			l.Got("%d bytes of the flood", took)
			l.Fail(labtest.Failure{Symptom: labtest.Unfair, Client: flood, Suspect: "read-budget-ignored",
				Problem: fmt.Sprintf("one turn should read at most %d bytes (ReadBudget) from one connection, but two turns read %d", budget, took)})
		}
		if quiet.Received() == had {
			l.Got("nothing of the quiet client's byte")
			l.Fail(labtest.Failure{Symptom: labtest.Unfair, Client: quiet, Suspect: "read-budget-ignored",
				Problem: fmt.Sprintf("a client beside one that floods should be served in the same turn, but in round %d was not", i+1)})
		}
	}
	l.Resume()
}
