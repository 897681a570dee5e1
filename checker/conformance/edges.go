package conformance

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// These are statements that every engine must keep, and that an edge-triggered one
// keeps only if it remembers what it was told.

// DataBeforeAcceptIsRead: the bytes are there before the engine knows the connection.
func DataBeforeAcceptIsRead(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	c := l.Dial()
	c.Send(labtest.Pattern(1, 1000))
	c.WaitDelivered()
	l.Did("only now turns are made: the client is accepted, and its bytes are there already")
	l.TurnsUntil(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "bytes that came before the connection was accepted should be read, but are not"},
		func(engine.Engine) bool { return c.Received() == 1000 })
}

// DataDuringACallbackIsRead: bytes arrive after the engine's last read and before its
// next wait, while the handler is busy with those before, and nothing else happens
// after that.
func DataDuringACallbackIsRead(t *testing.T, newEngine Engine) {
	const budget = 4096
	for _, first := range []int{100, budget, 3 * budget} {
		var k collector
		keep := k.service()
		var c *labtest.Client
		more := labtest.Pattern(2, 2*budget+50)
		sent := false
		l := start(t, newEngine, labtest.Paused(), labtest.WithConfig(engine.Config{ReadBudget: budget}),
			labtest.WithHandler(service{data: func(conn engine.Conn, data []byte) {
				keep.data(conn, data)
				if !sent && len(k.of(conn.ID())) >= first {
					sent = true
					c.SendFromCallback(more)
				}
			}}))
		c = l.Dial()
		data := labtest.Pattern(1, first)
		c.Send(data)
		c.WaitDelivered()
		l.Did("when OnData has had them, and before it returns, %s sends %d more", c.Name, len(more))
		id := uint64(0)
		l.TurnsUntil(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: fmt.Sprintf("all %d bytes should reach OnData, but do not", first+len(more))},
			func(engine.Engine) bool { return c.Received() == int64(first+len(more)) })
		id = c.WantOpen().ID()
		if got := k.of(id); string(got) != string(slices.Concat(data, more)) {
			l.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Client: c, Problem: "OnData should get the bytes in order, but got others"})
		}
	}
}

// MoreToReadIsNotWaitedFor: a client has sent several read budgets. Poll reads one of
// them a turn, and waits for nothing while there is more.
func MoreToReadIsNotWaitedFor(t *testing.T, newEngine Engine) {
	const budget, budgets = 4096, 8
	l := start(t, newEngine, labtest.Paused(), labtest.WithConfig(engine.Config{ReadBudget: budget}), labtest.WithHandler(service{}))
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	l.Turn(0)
	l.Turn(0)
	c.Send(labtest.Pattern(1, budget*budgets))
	c.WaitDelivered()
	l.Did("Poll(1m), until all is read: %d read budgets of %d bytes", budgets, budget)
	for turn := 1; c.Received() < budget*budgets; turn++ {
		if took := l.TurnWithin(time.Minute); took > labtest.Patience {
			l.Got("%d bytes after %d turns, and a Poll that waits", c.Received(), turn)
			l.Fail(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Suspects: []labtest.Rule{
				{ID: "done-at-once-waits", When: func(s *labtest.Scene) bool { return s.HasPort }},
				{ID: "edge-not-drained", When: func(s *labtest.Scene) bool { return s.HasEpoll }}},
				Problem: fmt.Sprintf("Poll should not wait while %d bytes are there to be read, but does", budget*budgets-c.Received())})
		}
	}
}

// ABudgetOfOneLosesNothing: the smallest read budget there is.
func ABudgetOfOneLosesNothing(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{ReadBudget: 1}), labtest.WithHandler(service{}))
	clients := l.DialMany(3)
	for i, c := range clients {
		c.Send(labtest.Pattern(i, 500))
	}
	for _, c := range clients {
		l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "500 bytes should be read one by one, but are not"},
			func(engine.Engine) bool { return c.Received() == 500 })
	}
}

// TheEndAfterAShortRead: a message and the end of data arrive together, and the read
// that takes the message leaves room in its buffer.
func TheEndAfterAShortRead(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	c.Send([]byte("a last message"))
	c.CloseWrite()
	c.WaitDelivered()
	l.Resume()
	c.WantClosed()
	c.WantEOF()
}

// UrgentDataDoesNotStopTheStream: a read stops short at the urgent mark, and there is
// more after it.
func UrgentDataDoesNotStopTheStream(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	c.Send(labtest.Pattern(1, 100))
	c.SendUrgent('!')
	c.Send(labtest.Pattern(2, 100))
	c.WaitDelivered()
	l.Resume()
	c.Suspect(labtest.Rule{ID: "short-read-at-urgent-mark", When: func(*labtest.Scene) bool { return c.Received() == 100 }})
	l.Did("wait for the 200 bytes around the urgent one")
	l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "the bytes after an urgent one should be read, but are not"},
		func(engine.Engine) bool { return c.Received() >= 200 })
}

// ABurstOfClientsIsAccepted: n clients are in the accept queue before the first turn,
// and nobody comes after them. Poll does not wait before it has accepted all.
func ABurstOfClientsIsAccepted(t *testing.T, newEngine Engine, n int) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	l.DialMany(n)
	l.Did("Poll(1m), until all are accepted")
	for accepted := 0; accepted < n; {
		took := l.TurnWithin(time.Minute)
		if took > labtest.Patience {
			l.Got("%d, and a Poll that waits", accepted)
			l.Fail(labtest.Failure{Symptom: labtest.CountLow, Suspects: []labtest.Rule{{ID: "burst-not-accepted", When: func(s *labtest.Scene) bool { return s.HasEpoll }}},
				Problem: fmt.Sprintf("%d clients wait to be accepted and Poll should not wait for more, but it does after %d", n-accepted, accepted)})
		}
		l.Do(func(e engine.Engine) { accepted = e.ConnectionCount() })
	}
}

// ACrowdIsServed: n clients connect in one burst while the loop runs; each is
// served, and when they are gone nothing is left.
func ACrowdIsServed(t *testing.T, newEngine Engine, n int, opts ...labtest.Option) {
	l := start(t, newEngine, append(opts, labtest.WithConfig(engine.Config{Backlog: 4096}))...)
	crowd := l.Crowd(n)
	l.WantCount(n)
	crowd.Echo(64)
	crowd.Leave()
	l.WantCount(0)
	l.WantDescriptorsBack()
}

// APingBesideFloods: four clients send and read without end, a fifth sends a byte at
// a time. Its latency is counted in turns of the loop, which is exact: alone, a byte
// is answered in one or two turns, and among floods in at most five times as many at
// the 99th percentile. The floods lose nothing.
func APingBesideFloods(t *testing.T, newEngine Engine) {
	const pings, budget = 200, 16 << 10
	l := start(t, newEngine, labtest.Paused(), labtest.WithConfig(engine.Config{ReadBudget: budget}))
	quiet := l.Dial()
	ping := func() (turns int, flood uint64) {
		quiet.SendQuietly([]byte("."))
		quiet.WaitDelivered()
		want, before := quiet.Received()+1, l.Stats().BytesIn
		for quiet.Received() < want && turns < 1000 {
			l.Turn(0)
			turns++
		}
		return turns, l.Stats().BytesIn - before
	}
	p99 := func() (turns int, flood uint64) {
		var all []int
		for range pings {
			t, f := ping()
			all = append(all, t)
			flood += f
		}
		slices.Sort(all)
		return all[pings*99/100], flood
	}
	l.Did("%s sends %d times one byte, alone", quiet.Name, pings)
	alone, _ := p99()
	l.Got("answered within %d turns (p99)", alone)

	const size = 24 << 20
	floods := l.DialMany(4)
	for i, c := range floods {
		c.EchoInBackground(labtest.Pattern(i, size))
	}
	for _, c := range floods {
		c.WaitMoving(budget)
	}
	l.Did("the same, beside four clients that flood")
	among, flooded := p99()
	l.Got("answered within %d turns (p99); %d bytes of the floods were read meanwhile", among, flooded)
	if among > 5*alone {
		l.Fail(labtest.Failure{Symptom: labtest.Unfair, Client: quiet, Suspect: "read-budget-ignored",
			Problem: fmt.Sprintf("beside clients that flood, a byte should be answered within %d turns (five times what it takes alone), but it takes %d (p99)", 5*alone, among)})
	}
	if most := uint64(len(floods) * budget * among * pings); flooded > most {
		l.Fail(labtest.Failure{Symptom: labtest.Unfair, Client: quiet, Suspect: "read-budget-ignored",
			Problem: fmt.Sprintf("one turn should read at most ReadBudget (%d bytes) from each of the four floods, but %d bytes were read in at most %d turns", budget, flooded, among*pings)})
	}
	l.Resume()
	for _, c := range floods {
		c.WaitEchoed()
	}
}

// AFullReadIsLookedBehind: a message is exactly as long as the read budget. Whether that
// was all the engine can find out only by another read; and then it sleeps.
func AFullReadIsLookedBehind(t *testing.T, newEngine Engine) {
	const budget = 4096
	l := start(t, newEngine, labtest.WithConfig(engine.Config{ReadBudget: budget}), labtest.WithHandler(service{}))
	c := l.Dial()
	for i := range 3 {
		c.Send(labtest.Pattern(i, budget))
		l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "a message as long as the read budget should be read, but is not"},
			func(engine.Engine) bool { return c.Received() == int64(budget*(i+1)) })
		l.WantIdle()
	}
}

// ShutdownSleepsWhileItWaits: clients are in the accept queue when Shutdown begins, more
// than one turn accepts, and one that is connected takes its time: Shutdown waits for it
// without using the processor.
func ShutdownSleepsWhileItWaits(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	clients := l.DialMany(300)
	l.Did("one turn")
	l.Turn(0)
	ctx, cancel := context.WithTimeout(context.Background(), 20*labtest.Patience)
	defer cancel()
	done := l.Shutdown(ctx)
	l.UntilRefused(l.Addr())
	l.SuspectNext(labtest.Rule{ID: "shutdown-spins", For: []labtest.Symptom{labtest.Busy}})
	l.WantSleep("Shutdown, which waits for clients to end,")
	l.SuspectNext()
	l.CloseAll(clients)
	if err := l.WantDone(done, labtest.Patience); err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Shutdown should return nil when every connection has ended in order, but returned %q", err)})
	}
}
