//go:build linux

package uringloop_test

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	"iolab/checker/probe"
	uringloop "iolab/lessons/06-io_uring"
	"iolab/lessons/engine"
	"iolab/lessons/engine/loops"
)

// What each test asks is written where it is called, in checker/conformance, in the
// order of the steps. Those that are about io_uring alone are here.

var server = with(uringloop.Options{})

// with is the engine with options, on a machine that has an io_uring.
func with(o uringloop.Options) conformance.Engine {
	return conformance.Of(func(cfg engine.Config, h engine.Handler) (*uringloop.Engine, error) {
		if _, err := probe.IOUring(); err != nil {
			return nil, err
		}
		return uringloop.NewWith(cfg, h, o)
	})
}

// rings are several, as one engine.
func rings(n int, o uringloop.Options) conformance.Engine {
	return conformance.Of(func(cfg engine.Config, h engine.Handler) (*loops.Loops, error) {
		if _, err := probe.IOUring(); err != nil {
			return nil, err
		}
		return uringloop.NewLoops(n, cfg, h, o)
	})
}

// features are those that the kernel has.
func features(l *labtest.Lab) (f uringloop.Features) {
	l.Do(func(e engine.Engine) { f = e.(*uringloop.Engine).Features() })
	return f
}

// Step 5: one turn

func TestStep05_ANewServerCanBeConnectedTo(t *testing.T) { conformance.ListensAtOnce(t, server) }

func TestStep05_NewSaysWhyItCannotListen(t *testing.T) { conformance.SaysWhyItCannotListen(t, server) }

func TestStep05_EveryDescriptorIsSafe(t *testing.T) { conformance.EveryDescriptorIsSafe(t, server) }

func TestStep05_CloseGivesEverythingBack(t *testing.T) {
	conformance.CloseGivesEverythingBack(t, server)
}

func TestStep05_CloseAfterATurnGivesEverythingBack(t *testing.T) {
	l := labtest.Start(t, server, labtest.Paused())
	l.Turn(0)
	l.Do(func(e engine.Engine) { e.Close() })
	const times = 50 // the kernel may be done in time once, and again
	l.Did("New on the same address, at once, a turn, Close, %d times", times)
	var err error
	l.Do(func(old engine.Engine) {
		for range times {
			var e engine.Engine
			if e, err = server(engine.Config{Addr: old.Addr().String()}, engine.Echo{}); err != nil {
				return
			}
			e.Poll(0)
			e.Close()
		}
	})
	if err != nil {
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.NewFails, Suspect: "completion-after-close", Problem: fmt.Sprintf("after Close the port should be free for another engine, but: %v", err)})
	}
}

func TestStep05_TheLoopSleepsWhileNothingHappens(t *testing.T) {
	conformance.SleepsWhileNothingHappens(t, server)
}

func TestStep05_PollKeepsToItsTimeout(t *testing.T) { conformance.PollKeepsToItsTimeout(t, server) }

func TestStep05_AClosedEngineDoesNotPoll(t *testing.T) {
	conformance.AClosedEngineDoesNotPoll(t, server)
}

func TestStep05_SignalsDoNotEndTheLoop(t *testing.T) { conformance.SignalsDoNotEndTheLoop(t, server) }

func TestStep05_TheLoopStaysOnItsThread(t *testing.T) {
	l := part(t)
	l.Did("New on one goroutine, Poll on another, which is not locked to its thread, until the scheduler has moved a third one 100 times")
	for range 4 {
		defer l.InBackground(func(done <-chan struct{}) {
			for {
				select {
				case <-done:
					return
				default:
					runtime.Gosched()
				}
			}
		})()
	}
	var moved atomic.Int64
	defer l.InBackground(func(done <-chan struct{}) {
		for thread := labtest.Thread(); ; {
			select {
			case <-done:
				return
			default:
			}
			nap()
			if now := labtest.Thread(); now != thread {
				thread = now
				moved.Add(1)
			}
		}
	})()
	var e engine.Engine
	var err error
	var thrown any
	changed := false
	func() {
		defer func() { thrown = recover() }()
		e, err = server(engine.Config{}, engine.Echo{})
	}()
	if e != nil && err == nil && thrown == nil {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { thrown = recover() }()
			err = e.Poll(0)
			thread, until, most := labtest.Thread(), time.Now().Add(labtest.Patience), moved.Load()+100
			for err == nil && !changed && moved.Load() < most && time.Now().Before(until) {
				nap()
				changed = labtest.Thread() != thread
				err = e.Poll(0)
			}
			e.Close()
		}()
		<-done
	}
	switch {
	case thrown != nil:
		l.Do(func(engine.Engine) { panic(thrown) })
	case err != nil:
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.PollFails, Suspect: "ring-on-two-threads", Problem: fmt.Sprintf("Poll should go on wherever Go's scheduler would like to run it, but returned: %v", err)})
	case changed:
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "ring-on-two-threads", Problem: "a loop should stay on the thread of its first Poll, but was moved to another"})
	}
}

// nap is a millisecond in a system call, from which Go's scheduler takes the processor
// away meanwhile: a goroutine then often goes on on another thread.
func nap() { unix.Poll(nil, 1) }

// Step 6: accepting and receiving

func TestStep06_HundredClientsConnectAndTheCountIs100(t *testing.T) {
	conformance.HundredClientsAreCounted(t, server)
}

func TestStep06_ClientsWaitInTheAcceptQueue(t *testing.T) {
	conformance.ClientsWaitInTheAcceptQueue(t, server)
}

func TestStep06_ABurstOfClientsIsAccepted(t *testing.T) {
	conformance.ABurstOfClientsIsAccepted(t, server, 500)
}

func TestStep06_AcceptedSocketsAreSafe(t *testing.T) { conformance.AcceptedSocketsAreSafe(t, server) }

func TestStep06_DataArrivesWholeAndInOrder(t *testing.T) {
	conformance.DataArrivesWholeAndInOrder(t, server)
}

func TestStep06_DataBeforeAcceptIsRead(t *testing.T) { conformance.DataBeforeAcceptIsRead(t, server) }

func TestStep06_DataDuringACallbackIsRead(t *testing.T) {
	conformance.DataDuringACallbackIsRead(t, server)
}

func TestStep06_MoreToReadIsNotWaitedFor(t *testing.T) {
	conformance.MoreToReadIsNotWaitedFor(t, server)
}

func TestStep06_ABudgetOfOneLosesNothing(t *testing.T) {
	conformance.ABudgetOfOneLosesNothing(t, server)
}

func TestStep06_AnEmptyReadIsNoError(t *testing.T) { conformance.AnEmptyReadIsNoError(t, server) }

func TestStep06_AFloodDoesNotStarveOthers(t *testing.T) {
	conformance.AFloodDoesNotStarveOthers(t, server)
}

func TestStep06_OneReceiveAConnection(t *testing.T) {
	l := labtest.Start(t, server, labtest.WithHandler(conformance.Silent))
	clients := l.DialMany(20)
	l.WantCount(20)
	l.Did("each of 20 clients sends a byte, 10 times")
	for round := range uint64(10) {
		for _, c := range clients {
			c.SendQuietly([]byte("x"))
		}
		l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Problem: "each byte should be received, but is not"},
			func(e engine.Engine) bool { return e.Stats().BytesIn == 20*(round+1) })
	}
	l.Pause()
	l.Turn(0)
	l.Turn(0)
	accepts := 1
	if !features(l).Has(uringloop.MultishotAccept) {
		accepts = 100
	}
	l.Did("look at what waits in the ring")
	for _, r := range l.Rings() {
		if n := r.Waiting["recv"]; n > 20 {
			l.Got("%d receives", n)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "recv-armed-twice", Problem: fmt.Sprintf("each of 20 connections should have one receive under way, but there are %d", n)})
		}
		if n := r.Waiting["accept"]; n > accepts {
			l.Got("%d accepts", n)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "accept-armed-twice", Problem: fmt.Sprintf("one accept should be under way, but there are %d", n)})
		}
	}
	l.Resume()
}

func TestStep06_WithoutABufferNothingIsLost(t *testing.T) {
	const clients, n = 200, 64 << 10
	got := collector{}
	l := labtest.Start(t, server, labtest.WithConfig(engine.Config{ReadBudget: 4096}), labtest.WithHandler(got))
	all := l.DialMany(clients)
	l.WantCount(clients)
	l.Did("%d clients send 64 KiB at once: more than there are buffers for", clients)
	for i, c := range all {
		go c.SendFromCallback(labtest.Pattern(i, n))
	}
	for i, c := range all {
		l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: fmt.Sprintf("all bytes of %s should be received, buffers or not, but are not", c.Name)},
			func(engine.Engine) bool { return c.Received() == n })
		same := false
		l.Do(func(engine.Engine) { same = bytes.Equal(got[c.Local()], labtest.Pattern(i, n)) })
		if !same {
			l.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Client: c, Suspect: "recv-armed-twice", Problem: fmt.Sprintf("the bytes of %s should be received in their order, but are not", c.Name)})
		}
	}
	l.WantIdle()
}

// collector keeps all that comes.
type collector map[netip.AddrPort][]byte

func (collector) OnOpen(engine.Conn)         {}
func (collector) OnClose(engine.Conn, error) {}
func (got collector) OnData(c engine.Conn, data []byte) {
	got[c.RemoteAddr()] = append(got[c.RemoteAddr()], data...)
}

// Step 7: the end of a connection

func TestStep07_LastBytesBeforeTheEndAreDelivered(t *testing.T) {
	conformance.LastBytesBeforeTheEndAreDelivered(t, server)
}

func TestStep07_ClientsLeaveNothingBehind(t *testing.T) {
	conformance.ClientsLeaveNothingBehind(t, server)
}

func TestStep07_OnCloseTellsHowItEnded(t *testing.T) { conformance.OnCloseTellsHowItEnded(t, server) }

func TestStep07_ClientsMayLeaveBeforeTheyAreAccepted(t *testing.T) {
	conformance.SurvivesClientsThatLeaveBeforeAccept(t, server)
}

func TestStep07_TheEndAfterAShortRead(t *testing.T) { conformance.TheEndAfterAShortRead(t, server) }

func TestStep07_UrgentDataDoesNotStopTheStream(t *testing.T) {
	conformance.UrgentDataDoesNotStopTheStream(t, server)
}

func TestStep07_TheHandlerCanClose(t *testing.T) { conformance.TheHandlerCanClose(t, server) }

func TestStep07_AnEventAfterCloseIsDropped(t *testing.T) {
	conformance.AnEventAfterCloseIsDropped(t, server)
}

func TestStep07_ACloseBetweenTurnsIsHeard(t *testing.T) {
	conformance.CloseBetweenTurnsIsHeard(t, server)
}

// Those that the kernel has accepted by itself since the last turn are in no list yet.
func TestStep07_WhoIsAcceptedAtTheLastMomentIsClosed(t *testing.T) {
	for _, without := range []uringloop.Features{0, uringloop.DeferTaskrun, ^uringloop.Features(0)} {
		l := labtest.Start(t, with(uringloop.Options{Without: without}), labtest.Paused())
		l.Turn(0)
		l.Turn(0)
		c := l.Dial()
		l.Did("Close, without a turn in between")
		l.Call("Close", func(e engine.Engine) { e.Close() })
		c.Suspect(labtest.Rule{ID: "accepted-and-forgotten", For: []labtest.Symptom{labtest.NoEOF}})
		c.WantGone()
		l.SuspectNext(labtest.Rule{ID: "accepted-and-forgotten", For: []labtest.Symptom{labtest.DescriptorsLeak}})
		l.WantDescriptorsBack()
	}
}

// Step 8: sending

func TestStep08_EchoesWholeAndInOrder(t *testing.T) { conformance.EchoesWholeAndInOrder(t, server) }

func TestStep08_WhatIsBeingSentStaysWhatItIs(t *testing.T) {
	l := labtest.Start(t, server, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	late, others := l.DialSmall(), l.DialMany(50)
	data := labtest.Pattern(1, 6<<20)
	late.SendInBackground(data)
	late.WaitStalled()
	l.Did("while the kernel has much to send to %s, 50 others are served", late.Name)
	for i, c := range others {
		for _, n := range []int{1, 200, 1000, 5000, 60_000} {
			c.EchoQuietly(labtest.Pattern(i, n))
		}
	}
	late.Want(data)
	late.WaitSent()
}

// Several at once, so that what describes one send lies beside what describes the next.
func TestStep08_AnswersInPartsStayApart(t *testing.T) {
	const clients = 50
	l := labtest.Start(t, server, labtest.Paused(), labtest.WithHandler(carver{}))
	all := l.DialMany(clients)
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "50 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == clients })
	l.Did("each of %d clients sends 20000 bytes, and gets them back in parts, each longer than the one before", clients)
	for i, c := range all {
		c.SendQuietly(labtest.Pattern(i, 20_000))
	}
	for _, c := range all {
		c.WaitDelivered()
	}
	l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Problem: "50 messages should be answered, but are not"},
		func(e engine.Engine) bool { return e.Stats().BytesOut == 20_000*clients })
	for i, c := range all {
		c.Suspect(labtest.Rule{ID: "memory-freed-in-flight", For: []labtest.Symptom{labtest.WrongBytes}})
		c.WantQuietly(labtest.Pattern(i, 20_000))
	}
}

// carver sends back what it gets, cut into longer and longer parts.
type carver struct{}

func (carver) OnOpen(engine.Conn)         {}
func (carver) OnClose(engine.Conn, error) {}
func (carver) OnData(c engine.Conn, data []byte) {
	for n := 10; len(data) > 0; n *= 2 {
		n = min(n, len(data))
		c.Send(data[:n])
		data = data[n:]
	}
}

func TestStep08_AnswersStayInOrder(t *testing.T) { conformance.AnswersStayInOrder(t, server) }

func TestStep08_ALateReaderLosesNothing(t *testing.T) { conformance.ALateReaderLosesNothing(t, server) }

func TestStep08_AFullSendBufferIsNoError(t *testing.T) {
	conformance.AFullSendBufferIsNoError(t, server)
}

func TestStep08_CallsAreCounted(t *testing.T) {
	conformance.CallsAreCounted(t, server, engine.CallIOUringEnter, engine.CallIOUringEnter)
}

func TestStep08_NothingIsBusyAfterALateReader(t *testing.T) {
	conformance.IsIdleAfterALateReader(t, server)
}

func TestStep08_ManyIdleConnectionsCostNothing(t *testing.T) {
	conformance.ManyIdleConnectionsCostNothing(t, server, 1000)
}

func TestStep08_ACrowdIsServed(t *testing.T) { conformance.ACrowdIsServed(t, server, 3000) }

func TestStep08_AHalfCloseGetsItsAnswer(t *testing.T) { conformance.HalfCloseGetsItsAnswer(t, server) }

func TestStep08_AResetWhileWritingHurtsNobody(t *testing.T) {
	conformance.AResetWhileWritingHurtsNobody(t, server)
}

func TestStep08_EveryCallbackMaySend(t *testing.T) { conformance.EveryCallbackMaySend(t, server) }

func TestStep08_CloseWriteSendsWhatIsQueued(t *testing.T) {
	conformance.CloseWriteSendsWhatIsQueued(t, server)
}

func TestStep08_AStaleEventHitsNobody(t *testing.T) { conformance.AStaleEventHitsNobody(t, server) }

// The handler closes connections to which the kernel is still sending, and newcomers get
// their descriptors.
func TestStep08_AStaleCompletionHitsNobody(t *testing.T) {
	answer := labtest.Pattern(1, 3<<20)
	l := labtest.Start(t, server, labtest.Paused(), labtest.WithHandler(greeter{answer}))
	for range 8 {
		doomed := l.DialSmall()
		l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: doomed, Problem: "the client should be accepted, but is not"},
			func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
		conn := doomed.WantOpen()
		end := doomed.ServerFD()
		doomed.Send([]byte("big"))
		doomed.WaitDelivered()
		l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Client: doomed, Problem: "the client's bytes should arrive, but do not"},
			func(engine.Engine) bool { return doomed.Received() == 3 })
		l.Turn(0)
		l.Turn(0)
		unplug := labtest.PlugBelow(end)
		l.Did("the handler closes %s, to which much is under way; a newcomer gets its descriptor", doomed.Name)
		l.Do(func(engine.Engine) { conn.Close() })
		l.Turn(0)
		fresh := l.Dial()
		l.Resume()
		fresh.Suspect(labtest.Rule{ID: "stale-completion"})
		l.SuspectNext(labtest.Rule{ID: "stale-completion", For: []labtest.Symptom{labtest.Panics}})
		fresh.WantOpen()
		unplug()
		for i := range 20 {
			fresh.EchoQuietly(labtest.Pattern(i, 1000))
		}
		l.SuspectNext()
		doomed.WantClosed()
		doomed.Suspect(labtest.Rule{ID: "closed-in-flight", For: []labtest.Symptom{labtest.NoEOF}})
		doomed.WantGone()
		fresh.Close()
		l.WantCount(0)
		l.Pause()
	}
	l.Resume()
}

// greeter answers "big" with much, and everything else with itself.
type greeter struct{ answer []byte }

func (greeter) OnOpen(engine.Conn)         {}
func (greeter) OnClose(engine.Conn, error) {}
func (g greeter) OnData(c engine.Conn, data []byte) {
	if string(data) == "big" {
		data = g.answer
	}
	c.Send(data)
}

// Who is paused by what another's callback sends has a receive under way, which may complete.
func TestStep08_WhatAPausedClientSendsIsNotLost(t *testing.T) {
	got := collector{}
	l := labtest.Start(t, server, labtest.Paused(), labtest.WithConfig(engine.Config{HighWater: 1 << 20, HardLimit: 64 << 20}), labtest.WithHandler(got))
	c := l.DialSmall()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	conn := c.WantOpen()
	l.Turn(0)
	answer, data := labtest.Pattern(1, 16<<20), labtest.Pattern(2, 100_000)
	l.Did("between two turns %s is sent 16 MiB, and so is paused; then it sends 100000 bytes, before it reads", c.Name)
	l.Do(func(engine.Engine) { conn.Send(answer) })
	c.SendInBackground(data)
	c.WaitMoving(1)
	for range 20 {
		l.Turn(0)
	}
	l.Resume()
	c.Suspect(labtest.Rule{ID: "lost-while-paused", For: []labtest.Symptom{labtest.SendStalls}, When: func(s *labtest.Scene) bool { return s.Waits("recv") }},
		labtest.Rule{ID: "reading-never-resumed", For: []labtest.Symptom{labtest.SendStalls}})
	c.Want(answer)
	c.WaitSent()
	l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "all that a paused client has sent should be received when its queue has drained, but is not"},
		func(engine.Engine) bool { return c.Received() == int64(len(data)) })
	same := false
	l.Do(func(engine.Engine) { same = bytes.Equal(got[c.Local()], data) })
	if !same {
		l.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Client: c, Suspect: "lost-while-paused", Problem: "what a paused client has sent should be received in its order, but is not"})
	}
}

func TestStep08_ASlowReaderIsNotReadFrom(t *testing.T) {
	conformance.ASlowReaderIsNotReadFrom(t, server)
}

func TestStep08_APausedClientThatEndsIsQuiet(t *testing.T) {
	conformance.APausedClientThatEndsIsQuiet(t, server)
}

func TestStep08_AMessageCostsATenthOfASystemCall(t *testing.T) {
	const clients, rounds = 500, 10
	l := labtest.Start(t, server, labtest.Paused())
	all := l.DialMany(clients)
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "500 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == clients })
	l.Did("%d times: each of %d clients sends 64 bytes; when all have come, turns are made until all are answered", rounds, clients)
	var before engine.Stats
	for round := range uint64(rounds + 1) {
		for i, c := range all {
			c.SendQuietly(labtest.Pattern(i, 64))
		}
		for _, c := range all {
			c.WaitDelivered()
		}
		l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Problem: "500 messages should be answered, but are not"},
			func(e engine.Engine) bool { return e.Stats().BytesOut == 64*clients*(round+1) })
		for i, c := range all {
			c.WantQuietly(labtest.Pattern(i, 64))
		}
		if round == 0 {
			before = l.Stats()
		}
	}
	after := l.Stats()
	if after.Calls[engine.CallIOUringEnter] == before.Calls[engine.CallIOUringEnter] {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats", Problem: "Stats.Calls should count io_uring_enter, but shows none"})
	}
	calls := after.Total() - before.Total()
	l.Got("%d system calls for %d messages", calls, clients*rounds)
	if most := uint64(clients * rounds / 10); calls > most {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "enter-per-message",
			Problem: fmt.Sprintf("%d messages that come together should cost %d system calls or fewer, but cost %d", clients*rounds, most, calls)})
	}
}

func TestStep08_ReadingGoesOnAtTheLowWaterMark(t *testing.T) {
	conformance.ReadingGoesOnAtTheLowWaterMark(t, server)
}

func TestStep08_SendStopsAtTheHardLimit(t *testing.T) { conformance.SendStopsAtTheHardLimit(t, server) }

func TestStep08_SlowReadersLeaveBuffersForOthers(t *testing.T) {
	l := labtest.Start(t, server, labtest.WithConfig(engine.Config{HighWater: 16 << 10}), labtest.WithHandler(shouter{labtest.Pattern(1, 4096)}))
	others, slow := l.DialMany(50), l.DialMany(120)
	l.WantCount(170)
	l.Did("the server's send buffers are made small, as if the network were slow")
	for _, c := range slow {
		labtest.SetSendBuffer(c.ServerFD(), 4096)
	}
	l.Did("120 clients send 64 KiB each, are owed many times that, and read nothing")
	for i, c := range slow {
		c.SendInBackground(labtest.Pattern(i, 64<<10))
	}
	for _, c := range slow {
		l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Suspect: "slow-readers-keep-the-buffers", Problem: "a client's bytes should be received until the queue is above the high-water mark, but are not"},
			func(engine.Engine) bool { return c.Received() > 0 })
	}
	l.Pause()
	before := l.Stats()
	l.Did("50 others send 64 bytes each; when all have come, turns are made until all are answered")
	for i, c := range others {
		c.SendQuietly(labtest.Pattern(i, 64))
		c.WaitDelivered()
	}
	received := func(engine.Engine) bool {
		for _, c := range others {
			if c.Received() < 64 {
				return false
			}
		}
		return true
	}
	l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Client: others[0], Suspect: "slow-readers-keep-the-buffers", Problem: "beside slow readers others should be served, but are not"}, received)
	after := l.Stats()
	if calls := after.Total() - before.Total(); calls > 40 {
		l.Got("%d system calls", calls)
		l.Fail(labtest.Failure{Symptom: labtest.Unfair, Suspect: "slow-readers-keep-the-buffers",
			Problem: fmt.Sprintf("50 messages that come together should cost 40 system calls or fewer, also beside slow readers, but cost %d: there are hardly any buffers left to receive into", calls)})
	}
	l.Resume()
}

// shouter answers large messages with much more, and others with themselves.
type shouter struct{ answer []byte }

func (shouter) OnOpen(engine.Conn)         {}
func (shouter) OnClose(engine.Conn, error) {}
func (s shouter) OnData(c engine.Conn, data []byte) {
	if len(data) <= 64 {
		c.Send(data)
		return
	}
	for range 64 {
		c.Send(s.answer)
	}
}

func TestStep08_APingBesideFloods(t *testing.T) { conformance.APingBesideFloods(t, server) }

// Step 9: limits, wake, shutdown, and other kernels

func TestStep09_RunningOutOfDescriptorsIsSurvived(t *testing.T) {
	conformance.RunsOutOfDescriptorsAndRecovers(t, server)
}

func TestStep09_AcceptingGoesOnByItself(t *testing.T) {
	conformance.AcceptingGoesOnByItself(t, server)
}

func TestStep09_AnAcceptThatKeepsFailingIsNoBusyLoop(t *testing.T) {
	conformance.AnAcceptThatKeepsFailingIsNoBusyLoop(t, server)
}

func TestStep09_MaxConnectionsIsKept(t *testing.T) { conformance.MaxConnectionsIsKept(t, server) }

func TestStep09_CloseEndsATickThatIsDue(t *testing.T) {
	l := labtest.Start(t, server, labtest.Paused(), labtest.WithConfig(engine.Config{IdleTimeout: 40 * time.Millisecond}))
	l.Turn(0)
	l.Did("no turn until more than a quarter of the idle timeout is over; then Close")
	time.Sleep(30 * time.Millisecond)
	l.SuspectNext(labtest.Rule{ID: "tick-goes-on", For: []labtest.Symptom{labtest.CallBlocks}})
	l.Call("Close", func(e engine.Engine) { e.Close() })
}

func TestStep09_IdleConnectionsAreClosed(t *testing.T) {
	conformance.IdleConnectionsAreClosed(t, server)
}

func TestStep09_AnIdleTimeoutNeedsNoTraffic(t *testing.T) {
	conformance.AnIdleTimeoutNeedsNoTraffic(t, server)
}

// What came while a handler held the loop up is served before anybody is taken for silent.
func TestStep09_ALongTurnMakesNobodyIdle(t *testing.T) {
	const clients, timeout = 200, 2 * time.Second
	l := labtest.Start(t, server, labtest.Paused(), labtest.WithConfig(engine.Config{IdleTimeout: timeout}), labtest.WithHandler(conformance.Silent))
	all := l.DialMany(clients)
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "200 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == clients })
	l.Turn(0)
	l.Did("no turn for longer than the idle timeout; then each client sends a byte, and when all have come there are turns again")
	time.Sleep(timeout + timeout/4)
	for _, c := range all {
		c.SendQuietly([]byte("x"))
	}
	for _, c := range all {
		c.WaitDelivered()
	}
	closed := 0
	l.TurnsUntil(labtest.Failure{Symptom: labtest.SendStalls, Problem: "each client's byte should be received, but is not"},
		func(e engine.Engine) bool {
			closed = clients - e.ConnectionCount()
			return closed > 0 || e.Stats().BytesIn == clients
		})
	if closed > 0 {
		l.Got("%d were closed", closed)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "stall-taken-for-silence",
			Problem: fmt.Sprintf("clients whose bytes had come should be served after a long turn, but %d were closed as idle", closed)})
	}
}

func TestStep09_AnIdleConnectionHasItsFullTime(t *testing.T) {
	for timeout := time.Second; timeout < 10*time.Second; timeout *= 2 {
		if hasItsFullTime(t, timeout) {
			return
		}
	}
}

// hasItsFullTime tells whether turns came often enough for a verdict: on a machine with much
// else to do a clock that is looked at once a turn is not exact.
func hasItsFullTime(t *testing.T, timeout time.Duration) (exact bool) {
	const clients = 8
	watch := &stopwatch{last: map[uint64]time.Time{}, shortest: math.MaxInt64}
	l := labtest.Start(t, server, labtest.Paused(), labtest.WithConfig(engine.Config{IdleTimeout: timeout}), labtest.WithHandler(watch))
	all := l.DialMany(clients)
	begun, last := time.Now(), time.Now()
	var stall time.Duration // the longest time from one turn to the next
	turns := func(more func() bool) {
		for more() {
			l.Turn(2 * time.Millisecond)
			stall, last = max(stall, time.Since(last)), time.Now()
		}
	}
	l.Did("a quarter of the idle timeout long a client after the other sends a byte; then nobody")
	for i, c := range all {
		c.Chirp()
		next := begun.Add(timeout / 4 * time.Duration(i+1) / clients)
		turns(func() bool {
			return (c.Received() == 0 || time.Now().Before(next)) && time.Since(begun) < timeout+labtest.Patience
		})
	}
	turns(func() bool {
		return watch.closed < clients && time.Since(begun) < 3*timeout+labtest.Patience
	})
	if stall > timeout/16 {
		l.CloseAll(all)
		return false
	}
	l.Got("%d closed, the soonest %v after its byte", watch.closed, watch.shortest.Round(time.Millisecond))
	if watch.shortest < timeout*7/8 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "idle-limit-too-early",
			Problem: fmt.Sprintf("a connection should be silent for %v before it is closed as idle, but one was closed %v after its last byte", timeout, watch.shortest.Round(time.Millisecond))})
	}
	return true
}

// stopwatch measures how long connections are silent before they are closed.
type stopwatch struct {
	last     map[uint64]time.Time // OnData, by connection
	shortest time.Duration
	closed   int
}

func (w *stopwatch) OnOpen(engine.Conn)             {}
func (w *stopwatch) OnData(c engine.Conn, _ []byte) { w.last[c.ID()] = time.Now() }
func (w *stopwatch) OnClose(c engine.Conn, _ error) {
	w.closed++
	if at, ok := w.last[c.ID()]; ok {
		w.shortest = min(w.shortest, time.Since(at))
	}
}

func TestStep09_SlowTurnsAreCounted(t *testing.T) { conformance.SlowTurnsAreCounted(t, server) }

func TestStep09_WakeMakesPollReturn(t *testing.T) { conformance.WakeMakesPollReturn(t, server) }

func TestStep09_NoWakeIsLost(t *testing.T) { conformance.NoWakeIsLost(t, server) }

func TestStep09_ManyWakesAreOne(t *testing.T) { conformance.WakesAreOne(t, server) }

func TestStep09_ShutdownSendsWhatIsQueued(t *testing.T) {
	conformance.ShutdownSendsWhatIsQueued(t, server)
}

func TestStep09_PollWithoutLimitWaits(t *testing.T) { conformance.PollWithoutLimitWaits(t, server) }

func TestStep09_ShutdownDiscardsFromPausedClients(t *testing.T) {
	conformance.ShutdownDiscardsFromPausedClients(t, server)
}

func TestStep09_ShutdownSleepsWhileItWaits(t *testing.T) {
	conformance.ShutdownSleepsWhileItWaits(t, server)
}

func TestStep09_ShutdownKeepsItsDeadline(t *testing.T) {
	conformance.ShutdownKeepsItsDeadline(t, server)
}

func TestStep09_CloseEndsEverything(t *testing.T) { conformance.CloseEndsEverything(t, server) }

// older are kernels that lack something, the last one what came after 5.6.
var older = []uringloop.Features{
	uringloop.DeferTaskrun,
	uringloop.DeferTaskrun | uringloop.SingleIssuer,
	uringloop.ExtArg,
	uringloop.MultishotRecv,
	uringloop.MultishotAccept,
	uringloop.BufferRing,
	^uringloop.Features(0), // 5.6
	^uringloop.Features(0) &^ uringloop.Disabled,
}

func TestStep09_OlderKernelsServeToo(t *testing.T) {
	for _, without := range older {
		old := with(uringloop.Options{Without: without})
		l := labtest.Start(t, old)
		if used := features(l) & without; used != 0 {
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "flags-not-stepped-down", Problem: fmt.Sprintf("%q should not be used when Options.Without says so, but is", used)})
		}
		clients := l.DialMany(50)
		l.WantCount(50)
		for i, c := range clients {
			c.WantOpen()
			c.EchoQuietly(labtest.Pattern(i, 5000))
		}
		late := l.DialSmall()
		data := labtest.Pattern(1, 4<<20)
		late.SendInBackground(data)
		late.CloseWriteWhenSent()
		late.WaitStalled()
		late.Want(data)
		late.WantEOF()
		late.WantClosed()
		l.WantIdle()
		l.CloseAll(clients)
		l.WantCount(0)
		l.WantDescriptorsBack()
		l.Pause()
	}
}

func TestStep09_OneAcceptAfterTheOtherSurvivesToo(t *testing.T) {
	conformance.RunsOutOfDescriptorsAndRecovers(t, with(uringloop.Options{Without: uringloop.MultishotAccept}))
}

func TestStep09_AKernelThreadMaySubmit(t *testing.T) {
	sqpollable(t)
	polled := with(uringloop.Options{SQPoll: true})
	conformance.EchoesWholeAndInOrder(t, polled)
	conformance.ALateReaderLosesNothing(t, polled)
	conformance.ClientsLeaveNothingBehind(t, polled)
	conformance.CloseEndsEverything(t, polled)
}

// With a kernel thread that submits, cancellations take their time, in which Close has
// nothing to do: what was left to be served is not served any more. A loop that looks again
// and again makes no system call here, but never gives its processor away either.
func TestStep09_ClosingBusyConnectionsIsNoBusyLoop(t *testing.T) {
	sqpollable(t)
	const clients, rounds = 20, 9
	var l *labtest.Lab
	for range 2 { // on a busy machine all may be over before there is anything to wait for
		waited := 0
		for range rounds {
			l = labtest.Start(t, with(uringloop.Options{SQPoll: true}), labtest.Paused(), labtest.WithConfig(engine.Config{ReadBudget: 1024}), labtest.WithHandler(conformance.Silent))
			all := l.DialMany(clients)
			l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "20 clients should be accepted, but are not"},
				func(e engine.Engine) bool { return e.ConnectionCount() == clients })
			l.Did("each client sends 64 KiB, of which the server has read a part; the kernel's thread falls asleep; Close")
			for i, c := range all {
				c.SendFromCallback(labtest.Pattern(i, 64<<10))
			}
			l.TurnsUntil(labtest.Failure{Symptom: labtest.SendStalls, Client: all[0], Problem: "the clients' bytes should be received, but are not"},
				func(e engine.Engine) bool { return e.Stats().BytesIn > clients<<10 })
			time.Sleep(30 * time.Millisecond)
			l.Call("Close", func(e engine.Engine) {
				before := labtest.Waits()
				e.Close()
				if labtest.Waits() > before {
					waited++
				}
			})
		}
		if waited >= rounds/3 {
			return
		}
		l.Got("of %d times the thread has waited %d times", rounds, waited)
	}
	l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "closing-spins",
		Problem: fmt.Sprintf("Close should wait until the last operations of %d connections have completed, but looked for them again and again", clients)})
}

func TestStep09_ConnectionsNeedNoDescriptor(t *testing.T) {
	direct := with(uringloop.Options{Direct: true})
	l := labtest.Start(t, direct)
	if !features(l).Has(uringloop.Direct) {
		l.Unavailable("this kernel has no accept into the ring's own table: it takes Linux 5.19")
	}
	clients := l.DialMany(50)
	l.WantCount(50)
	for i, c := range clients {
		c.EchoQuietly(labtest.Pattern(i, 1000))
		if fd := c.ServerFD(); fd >= 0 {
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "direct-with-descriptor", Problem: fmt.Sprintf("a connection in the ring's table should have no descriptor, but has %d", fd)})
		}
	}
	l.WantDescriptorsBack()
	conformance.EchoesWholeAndInOrder(t, direct)
	conformance.ALateReaderLosesNothing(t, direct)
	conformance.HalfCloseGetsItsAnswer(t, direct)
	conformance.OnCloseTellsHowItEnded(t, direct)
	conformance.ShutdownSendsWhatIsQueued(t, direct)
}

// places is an engine whose table has n places for connections without a descriptor: as
// many as the process may have descriptors while it is made.
func places(n uint64) conformance.Engine {
	direct := with(uringloop.Options{Direct: true})
	return func(cfg engine.Config, h engine.Handler) (engine.Engine, error) {
		var old unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			return nil, err
		}
		low := old
		low.Cur = n
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			return nil, err
		}
		defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		return direct(cfg, h)
	}
}

// Who comes when the table is full may be refused or wait; the kernel accepts before it
// looks for a place. Those who are served do not suffer, and places come free.
func TestStep09_AFullTableIsNotTheEnd(t *testing.T) {
	const n = 200
	l := labtest.Start(t, places(n))
	if !features(l).Has(uringloop.Direct) {
		l.Unavailable("this kernel has no accept into the ring's own table: it takes Linux 5.19")
	}
	clients := l.DialMany(n)
	l.WantCount(n)
	l.Did("20 more connect, and find the table full")
	late := l.DialMany(20)
	l.SuspectNext(labtest.Rule{ID: "emfile-spins", For: []labtest.Symptom{labtest.Busy}})
	l.WantIdle()
	for i, c := range clients {
		c.EchoQuietly(labtest.Pattern(i, 100))
	}
	l.CloseAll(late)
	l.CloseAll(clients[:100])
	l.WantCount(n - 100)
	c := l.Dial()
	c.Suspect(labtest.Rule{ID: "accept-never-resumed", For: []labtest.Symptom{labtest.NoData}})
	c.Echo([]byte("a newcomer"))
	l.CloseAll(clients[100:])
	c.Close()
	l.WantCount(0)
	l.WantDescriptorsBack()
}

func TestStep09_SeveralRingsServe(t *testing.T) {
	conformance.SeveralLoopsServe(t, rings(2, uringloop.Options{}))
	conformance.SeveralLoopsServe(t, rings(2, uringloop.Options{Direct: true}))
}

func TestStep09_SeveralRingsKeepMaxConnections(t *testing.T) {
	conformance.SeveralLoopsKeepMaxConnections(t, rings(2, uringloop.Options{}))
}

func TestStep09_IdleConnectionsAreClosedByOneTickAfterTheOther(t *testing.T) {
	conformance.IdleConnectionsAreClosed(t, with(uringloop.Options{Without: uringloop.MultishotTimeout}))
}

// What a process has of the kernel: descriptors are counted by labtest.
func footprint(t *testing.T) (mappings, threads int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob("/proc/self/task/*/comm")
	for _, name := range names {
		if comm, _ := os.ReadFile(name); strings.HasPrefix(string(comm), "iou-") {
			threads++
		}
	}
	return strings.Count(string(maps), "io_uring"), threads
}

func TestStep09_AThousandServersLeaveNothing(t *testing.T) {
	l := labtest.Start(t, server, labtest.Paused())
	mappings, threads := footprint(t)
	wantUnmapped(l, 1000, "New, a client, two turns, Close", "completion-after-close", func() error {
		e, err := server(engine.Config{ReadBudget: 4096}, engine.Echo{})
		if err != nil {
			return err
		}
		stop := labtest.Visit(e.Addr())
		defer stop()
		err = e.Poll(0)
		e.Poll(0)
		e.Close()
		return err
	})
	l.WantDescriptorsBack()
	deadline := time.Now().Add(labtest.Patience)
	for {
		m, n := footprint(t)
		if m <= mappings && n <= threads {
			return
		}
		if time.Now().After(deadline) {
			l.Got("%d mappings, %d kernel threads; %d and %d before", m, n, mappings, threads)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "mapping-not-unmapped", Problem: fmt.Sprintf("1000 closed servers should leave nothing, but left %d mappings and %d kernel threads", m-mappings, n-threads)})
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestStep09_ResetsWhileTheRingIsTornDown(t *testing.T) {
	for i := range 10 {
		l := labtest.Start(t, server)
		clients := l.DialMany(20)
		for j, c := range clients {
			c.SendInBackground(labtest.Pattern(j, 1<<20))
		}
		clients[0].WaitMoving(int64(1000 * (i + 1)))
		l.Did("clients connect, send and reset without end, while the engine is closed")
		stop := l.InBackground(func(done <-chan struct{}) {
			for {
				select {
				case <-done:
					return
				default:
					labtest.Visit(l.Engine().Addr())()
				}
			}
		})
		time.Sleep(20 * time.Millisecond) // so that there are some
		l.Pause()
		l.Do(func(e engine.Engine) { e.Close() })
		stop()
	}
}

func BenchmarkTurn(b *testing.B) { conformance.BenchmarkTurn(b, server, 5000) }
