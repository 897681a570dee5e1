//go:build linux || windows

package iocploop_test

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	iocploop "iolab/lessons/05-iocp"
	"iolab/lessons/05-iocp/iocp"
	"iolab/lessons/engine"
)

// What each test asks is written where it is called, in checker/conformance, in the
// order of the steps. Those that are about completion ports alone are here.

// The emulated kernel works on goroutines of its own; where a test says "now it is
// delivered" it means that kernel, too.
func init() { labtest.Settle = iocp.Settle }

var server = conformance.Of(iocploop.New)

// in is the server in other modes than New's.
func in(modes iocploop.Modes) conformance.Engine {
	return conformance.Of(func(cfg engine.Config, h engine.Handler) (*iocploop.Engine, error) {
		return iocploop.NewWith(cfg, h, modes)
	})
}

// inEveryMode runs statement for the modes that New does not have.
func inEveryMode(t *testing.T, statement func(*testing.T, conformance.Engine)) {
	for _, modes := range []iocploop.Modes{{}, {SkipOnSuccess: true}, {ZeroByte: true}} {
		t.Run(fmt.Sprintf("%+v", modes), func(t *testing.T) { statement(t, in(modes)) })
	}
}

// collect runs the garbage collector until it has taken everything that it can.
func collect(lab *labtest.Lab) {
	lab.Did("the garbage collector runs")
	for range 3 {
		runtime.GC()
	}
}

// Step 1: the port and the listener

func TestStep01_ANewServerCanBeConnectedTo(t *testing.T) { conformance.ListensAtOnce(t, server) }

func TestStep01_NewSaysWhyItCannotListen(t *testing.T) { conformance.SaysWhyItCannotListen(t, server) }

func TestStep01_EveryDescriptorIsSafe(t *testing.T) { conformance.EveryDescriptorIsSafe(t, server) }

func TestStep01_CloseGivesEverythingBack(t *testing.T) {
	conformance.CloseGivesEverythingBack(t, server)
}

// Step 2: an operation, and whose it is

func TestStep02_AcceptsAreInFlightAndComeBack(t *testing.T) {
	lab := labtest.Start(t, server, labtest.Paused())
	lab.Turn(0)
	if n := lab.Stats().Calls[engine.CallAcceptEx]; n < 2 {
		lab.Got("%d calls of AcceptEx after the first turn", n)
		suspect := "accept-not-posted"
		if n > 0 && lab.Stats().Parked > 0 {
			suspect = "pending-taken-for-error"
		}
		lab.Fail(labtest.Failure{Symptom: labtest.CountLow, Suspect: suspect,
			Problem: fmt.Sprintf("several AcceptEx should be in flight after the first turn, but Stats.Calls counts %d", n)})
	}
	collect(lab)
	lab.Did("Close: the accepts in flight come back, cancelled, and then the port is closed")
	lab.Do(func(e engine.Engine) { e.Close() })
}

func TestStep02_PollKeepsToItsTimeout(t *testing.T) { conformance.PollKeepsToItsTimeout(t, server) }

func TestStep02_AClosedEngineDoesNotPoll(t *testing.T) {
	conformance.AClosedEngineDoesNotPoll(t, server)
}

func TestStep02_TheLoopSleepsWhileNothingHappens(t *testing.T) {
	conformance.SleepsWhileNothingHappens(t, server)
}

// Step 3: accepting

func TestStep03_HundredClientsConnectAndTheCountIs100(t *testing.T) {
	conformance.HundredClientsAreCounted(t, server)
}

func TestStep03_ClientsWaitInTheAcceptQueue(t *testing.T) {
	conformance.ClientsWaitInTheAcceptQueue(t, server)
}

func TestStep03_AcceptedSocketsAreSafe(t *testing.T) { conformance.AcceptedSocketsAreSafe(t, server) }

func TestStep03_AcceptsAreTakenInEveryMode(t *testing.T) {
	inEveryMode(t, func(t *testing.T, server conformance.Engine) {
		lab := labtest.Start(t, server, labtest.Paused())
		lab.DialMany(50)
		lab.Resume()
		lab.WantCount(50)
		if s := lab.Stats(); s.Accepts != 50 || s.Refused != 0 {
			lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "skip-mode-differs",
				Problem: fmt.Sprintf("50 clients should be accepted and none refused, but Stats show %d and %d", s.Accepts, s.Refused)})
		}
	})
}

// Step 4: receiving, and the end

func TestStep04_DataArrivesWholeAndInOrder(t *testing.T) {
	conformance.DataArrivesWholeAndInOrder(t, server)
}

func TestStep04_DataBeforeTheAcceptIsReceived(t *testing.T) {
	conformance.DataBeforeAcceptIsRead(t, server)
}

func TestStep04_LastBytesBeforeTheEndAreDelivered(t *testing.T) {
	conformance.LastBytesBeforeTheEndAreDelivered(t, server)
}

func TestStep04_ClientsLeaveNothingBehind(t *testing.T) {
	conformance.ClientsLeaveNothingBehind(t, server)
}

func TestStep04_OnCloseTellsHowItEnded(t *testing.T) { conformance.OnCloseTellsHowItEnded(t, server) }

func TestStep04_ClientsMayLeaveBeforeTheyAreAccepted(t *testing.T) {
	conformance.SurvivesClientsThatLeaveBeforeAccept(t, server)
}

func TestStep04_DataArrivesInEveryMode(t *testing.T) {
	inEveryMode(t, conformance.DataArrivesWholeAndInOrder)
}

func TestStep04_TheCollectorTakesNothingThatIsInFlight(t *testing.T) {
	inEveryMode(t, func(t *testing.T, server conformance.Engine) {
		lab := labtest.Start(t, server, labtest.WithHandler(conformance.Silent))
		clients := lab.DialMany(5)
		lab.WantCount(5)
		collect(lab)
		for i, client := range clients {
			client.Send(labtest.Pattern(i, 1000))
		}
		for _, client := range clients {
			lab.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: client, Problem: "1000 bytes should be received, but are not"},
				func(engine.Engine) bool { return client.Received() == 1000 })
		}
	})
}

func TestStep04_ASilentConnectionHoldsNoBuffer(t *testing.T) {
	const clients, budget = 100, 1 << 20
	lab := labtest.Start(t, server, labtest.WithConfig(engine.Config{ReadBudget: budget}))
	held := func() int64 {
		collect(lab)
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := held()
	lab.DialMany(clients)
	lab.WantCount(clients)
	grown := (held() - before) / clients
	lab.Got("the heap has grown by %d bytes for each of %d silent connections; the read budget is %d", grown, clients, budget)
	if grown > budget/10 {
		lab.Fail(labtest.Failure{Symptom: labtest.MemoryGrows, Suspect: "idle-connection-holds-a-buffer",
			Problem: fmt.Sprintf("a silent connection should hold no receive buffer, but each costs %d bytes", grown)})
	}
}

// Step 5: sending

func TestStep05_EchoesWholeAndInOrder(t *testing.T) { conformance.EchoesWholeAndInOrder(t, server) }

func TestStep05_ALateReaderLosesNothing(t *testing.T) { conformance.ALateReaderLosesNothing(t, server) }

func TestStep05_AFullSendBufferIsNoError(t *testing.T) {
	conformance.AFullSendBufferIsNoError(t, server)
}

func TestStep05_CallsAreCounted(t *testing.T) {
	conformance.CallsAreCounted(t, server, engine.CallGetQueuedCompletionStatusEx, engine.CallWSARecv, engine.CallWSASend)
}

func TestStep05_AnswersStayInOrder(t *testing.T) { conformance.AnswersStayInOrder(t, server) }

func TestStep05_NothingIsBusyWhenTheQueueIsEmpty(t *testing.T) {
	conformance.IsIdleAfterALateReader(t, server)
}

func TestStep05_ManyIdleConnectionsCostNothing(t *testing.T) {
	conformance.ManyIdleConnectionsCostNothing(t, server, 1000)
}

func TestStep05_AHalfCloseGetsItsAnswer(t *testing.T) { conformance.HalfCloseGetsItsAnswer(t, server) }

func TestStep05_AResetWhileWritingHurtsNobody(t *testing.T) {
	conformance.AResetWhileWritingHurtsNobody(t, server)
}

func TestStep05_EchoesInEveryMode(t *testing.T) {
	inEveryMode(t, conformance.EchoesWholeAndInOrder)
	inEveryMode(t, conformance.ALateReaderLosesNothing)
}

func TestStep05_WhatIsQueuedIsGathered(t *testing.T) {
	const size = 8 << 20
	answer := labtest.Pattern(1, size)
	lab := labtest.Start(t, server, labtest.WithConfig(engine.Config{HighWater: 2 * size}), labtest.WithHandler(conformance.Silent))
	client := lab.DialSmall()
	conn := client.WantOpen()
	before := lab.Stats().Calls[engine.CallWSASend]
	lab.Did("Send, 8 MiB in one call, to a client that reads them then")
	lab.Do(func(engine.Engine) { conn.Send(answer) })
	client.Want(answer)
	// From when on one send has to wait for the client there is always a queue.
	const most = size / (32 << 10)
	if n := lab.Stats().Calls[engine.CallWSASend] - before; n > most {
		lab.Got("%d calls of WSASend", n)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "sends-not-gathered",
			Problem: fmt.Sprintf("8 MiB that are queued should go out with %d calls of WSASend or fewer (32 KiB or more each), but took %d", most, n)})
	}
}

func TestStep05_ManyCompletionsNeedFewWaits(t *testing.T) {
	lab := labtest.Start(t, server, labtest.Paused())
	clients := lab.DialMany(500)
	lab.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "500 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 500 })
	lab.Did("four times: each sends a byte, and when all have come, turns are made until all are received")
	var turns int
	for round := range uint64(4) {
		for _, client := range clients {
			client.SendQuietly([]byte("x"))
		}
		for _, client := range clients {
			client.WaitDelivered()
		}
		turns = 0
		lab.TurnsUntil(labtest.Failure{Symptom: labtest.SendStalls, Problem: "the bytes of 500 clients should be received, but are not"},
			func(e engine.Engine) bool { turns++; return e.Stats().BytesIn == 500*(round+1) })
	}
	if turns > 4 && iocpSettles {
		lab.Got("%d turns in the last round", turns)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "completions-not-batched",
			Problem: fmt.Sprintf("500 completions that are queued should be taken in 4 waits or fewer, but it took %d", turns)})
	}
}

// iocpSettles is whether a test can know that all completions are queued.
const iocpSettles = runtime.GOOS != "windows"

// Step 6: closing

func TestStep06_TheHandlerCanClose(t *testing.T) { conformance.TheHandlerCanClose(t, server) }

func TestStep06_ACompletionAfterCloseIsDropped(t *testing.T) {
	conformance.AnEventAfterCloseIsDropped(t, server)
}

func TestStep06_CloseWriteSendsWhatIsQueued(t *testing.T) {
	conformance.CloseWriteSendsWhatIsQueued(t, server)
}

func TestStep06_EveryCallbackMaySend(t *testing.T) { conformance.EveryCallbackMaySend(t, server) }

func TestStep06_ACloseBetweenTurnsIsHeard(t *testing.T) {
	conformance.CloseBetweenTurnsIsHeard(t, server)
}

func TestStep06_AClosedConnectionStaysTheKernelsUntilItIsDone(t *testing.T) {
	inEveryMode(t, func(t *testing.T, server conformance.Engine) {
		lab := labtest.Start(t, server, labtest.Paused(), labtest.WithConfig(engine.Config{HighWater: 64 << 20}), labtest.WithHandler(conformance.Silent))
		lab.SuspectNext(givenBackEarly)
		clients := []*labtest.Client{lab.DialSmall(), lab.DialSmall()}
		other := lab.Dial()
		lab.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "3 clients should be accepted, but are not"},
			func(e engine.Engine) bool { return e.ConnectionCount() == 3 })
		lab.Turn(0)
		lab.Did("with a receive and a send in flight, the handler closes both connections")
		answer := labtest.Pattern(9, 16<<20)
		for _, client := range clients {
			conn := client.WantOpen()
			lab.Do(func(engine.Engine) { conn.Send(answer); conn.Close() })
		}
		lab.Turn(0)
		collect(lab)
		lab.Did("32 MiB are sent to a third client, before the operations of those two come back")
		message := labtest.Pattern(10, 32<<20)
		third := other.WantOpen()
		lab.Do(func(engine.Engine) { third.Send(message) })
		lab.Turn(0)
		lab.Resume()
		lab.WantCount(1)
		other.Want(message)
		for _, client := range clients {
			client.WantGone()
		}
	})
}

// host is a handler that closes the doomed when a client asks for it. When one of them is
// closed it sends a line to each of the others, which takes a buffer, and much to one that
// does not read, so that a small pool of buffers has room for the next one's.
type host struct {
	line           []byte
	doomed, others []engine.Conn
	stuck          engine.Conn
	answered       map[engine.Conn]bool
}

func (h *host) OnOpen(engine.Conn) {}

func (h *host) OnData(c engine.Conn, data []byte) {
	switch {
	case string(data) == "close them":
		for _, d := range h.doomed {
			d.Close()
		}
	case slices.Contains(h.others, c) && !h.answered[c]:
		h.answered[c] = true
		c.Send(h.line)
	}
}

func (h *host) OnClose(c engine.Conn, _ error) {
	if slices.Contains(h.doomed, c) {
		for _, other := range h.others {
			other.Send(h.line)
		}
		h.stuck.Send(make([]byte, 64<<10))
	}
}

func TestStep06_ItsBuffersAreTheKernelsUntilThen(t *testing.T) {
	t.Run("New", func(t *testing.T) { itsBuffersAreTheKernelsUntilThen(t, server) })
	if runtime.GOOS != "windows" { // nobody watches the buffers there
		inEveryMode(t, itsBuffersAreTheKernelsUntilThen)
	}
}

func itsBuffersAreTheKernelsUntilThen(t *testing.T, server conformance.Engine) {
	const small, doomed, others = 4, 3, 4
	h := &host{line: labtest.Pattern(12, 4000), answered: map[engine.Conn]bool{}}
	lab := labtest.Start(t, server, labtest.Paused(), labtest.WithConfig(engine.Config{ReadBudget: 1 << 10}), labtest.WithHandler(h))
	lab.SuspectNext(givenBackEarly)
	var clients []*labtest.Client
	for range small {
		clients = append(clients, lab.DialSmall())
	}
	clients = append(clients, lab.DialMany(others)...)
	closer := lab.Dial()
	lab.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "9 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == small+others+1 })
	lab.Turn(0)
	var conns []engine.Conn
	for _, client := range clients {
		conns = append(conns, client.WantOpen())
	}
	h.doomed, h.stuck, h.others = conns[:doomed], conns[doomed], conns[small:]
	filler := labtest.Pattern(13, len(h.line)) // other bytes than the line's
	lab.Did("Send %d bytes to each of the first four, again and again, until a send has to wait", len(filler))
	for _, conn := range conns[:small] {
		lab.Do(func(e engine.Engine) {
			for range 5000 {
				conn.Send(filler)
				for range 2 { // a send that is done at once may need a turn to be heard of
					e.Poll(0)
				}
				if conn.Queued() > 0 {
					break
				}
			}
		})
	}
	lab.Did("one turn, in which first %s has the handler close three of those, then %d others have sent 3 KiB and are answered, and three new ones come with data", closer.Name, others)
	closer.Send([]byte("close them"))
	closer.WaitDelivered()
	for _, client := range clients[small:] {
		client.Send(labtest.Pattern(14, 3<<10)) // more than one receive takes
		client.WaitDelivered()
	}
	newcomers := lab.DialMany(3)
	for i, client := range newcomers {
		client.Send(labtest.Pattern(i, 1000))
		client.WaitDelivered()
	}
	lab.Turn(0)
	collect(lab)
	lab.Turn(0)
	lab.Resume()
	lab.WantCount(small - doomed + others + 1 + len(newcomers))
	for _, client := range clients[small:] {
		client.Want(bytes.Repeat(h.line, 1+doomed))
	}
	for _, client := range newcomers {
		lab.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: client, Problem: "1000 bytes should be received, but are not"},
			func(engine.Engine) bool { return client.Received() == 1000 })
	}
	for _, client := range clients[:doomed] {
		client.WantGone()
	}
}

// givenBackEarly: memory that a closed connection's operation still had was used again.
var givenBackEarly = labtest.Rule{ID: "buffer-given-back-early", For: []labtest.Symptom{labtest.Panics}, When: func(s *labtest.Scene) bool {
	return s.Misused() == "buffer-changed" || s.Misused() == "buffer-shared"
}}

// Step 7: backpressure and fairness

func TestStep07_ASlowReaderIsNotReadFrom(t *testing.T) {
	conformance.ASlowReaderIsNotReadFrom(t, server)
}

func TestStep07_ReadingGoesOnAtTheLowWaterMark(t *testing.T) {
	conformance.ReadingGoesOnAtTheLowWaterMark(t, server)
}

func TestStep07_APausedClientThatEndsIsQuiet(t *testing.T) {
	conformance.APausedClientThatEndsIsQuiet(t, server)
}

func TestStep07_SendStopsAtTheHardLimit(t *testing.T) { conformance.SendStopsAtTheHardLimit(t, server) }

func TestStep07_AFloodDoesNotStarveOthers(t *testing.T) {
	conformance.AFloodDoesNotStarveOthers(t, server)
}

func TestStep07_MoreToReceiveIsNotWaitedFor(t *testing.T) {
	conformance.MoreToReadIsNotWaitedFor(t, server)
}

// Step 8: limits

func TestStep08_RunningOutOfSocketsIsSurvived(t *testing.T) {
	conformance.RunsOutOfDescriptorsAndRecovers(t, server)
}

func TestStep08_AcceptingGoesOnByItself(t *testing.T) {
	conformance.AcceptingGoesOnByItself(t, server)
}

func TestStep08_MaxConnectionsIsKept(t *testing.T) { conformance.MaxConnectionsIsKept(t, server) }

func TestStep08_IdleConnectionsAreClosed(t *testing.T) {
	conformance.IdleConnectionsAreClosed(t, server)
}

func TestStep08_AnIdleTimeoutNeedsNoTraffic(t *testing.T) {
	conformance.AnIdleTimeoutNeedsNoTraffic(t, server)
}

func TestStep08_SlowTurnsAreCounted(t *testing.T) { conformance.SlowTurnsAreCounted(t, server) }

// Step 9: wake and shutdown

func TestStep09_WakeMakesPollReturn(t *testing.T) { conformance.WakeMakesPollReturn(t, server) }

func TestStep09_PollWithoutLimitWaits(t *testing.T) { conformance.PollWithoutLimitWaits(t, server) }

func TestStep09_NoWakeIsLost(t *testing.T) { conformance.NoWakeIsLost(t, server) }

func TestStep09_ManyWakesAreOne(t *testing.T) { conformance.WakesAreOne(t, server) }

func TestStep09_ShutdownSendsWhatIsQueued(t *testing.T) {
	conformance.ShutdownSendsWhatIsQueued(t, server)
}

func TestStep09_ShutdownDiscardsFromPausedClients(t *testing.T) {
	conformance.ShutdownDiscardsFromPausedClients(t, server)
}

func TestStep09_ShutdownKeepsItsDeadline(t *testing.T) {
	conformance.ShutdownKeepsItsDeadline(t, server)
}

func TestStep09_CloseEndsEverything(t *testing.T) { conformance.CloseEndsEverything(t, server) }

func BenchmarkTurn(b *testing.B) { conformance.BenchmarkTurn(b, server, 5000) }
