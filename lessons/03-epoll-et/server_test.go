//go:build linux

package epollet_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	"iolab/checker/probe"
	epollet "iolab/lessons/03-epoll-et"
	"iolab/lessons/engine"
)

// What each test asks is written where it is called, in checker/conformance, in the
// order of the steps. Those that are about edges, Offload and Loops alone are here.

var server = conformance.Of(epollet.New)

var twoLoops = conformance.Of(func(cfg engine.Config, h engine.Handler) (*epollet.Loops, error) {
	return epollet.NewLoops(2, cfg, h)
})

// Step 1: edges

func TestStep01_ANewServerCanBeConnectedTo(t *testing.T) { conformance.ListensAtOnce(t, server) }

func TestStep01_NewSaysWhyItCannotListen(t *testing.T) {
	conformance.SaysWhyItCannotListen(t, server)
}

func TestStep01_EveryDescriptorIsSafe(t *testing.T) { conformance.EveryDescriptorIsSafe(t, server) }

func TestStep01_CloseGivesEverythingBack(t *testing.T) {
	conformance.CloseGivesEverythingBack(t, server)
}

func TestStep01_TheListenerIsEdgeTriggered(t *testing.T) {
	lab := labtest.Start(t, server, labtest.Paused())
	lab.Did("look at the interest list")
	for _, interest := range lab.EpollTable() {
		if interest.FD == lab.Listener() && interest.Events&unix.EPOLLIN != 0 {
			wantEdgeTriggered(lab, "the listener", interest)
			return
		}
	}
	lab.Fail(labtest.Failure{Symptom: labtest.CountLow, Suspect: "listener-not-watched",
		Problem: "the listener should be in the interest list with EPOLLIN, but is not"})
}

func wantEdgeTriggered(lab *labtest.Lab, who string, interest probe.Interest) {
	if interest.Events&unix.EPOLLET == 0 {
		lab.Got("%s: %s", who, probe.DecodeEpoll(interest.Events))
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "not-edge-triggered",
			Problem: fmt.Sprintf("%s should be in the interest list with EPOLLET, but is there with %s", who, probe.DecodeEpoll(interest.Events))})
	}
}

func TestStep01_PollKeepsToItsTimeout(t *testing.T) { conformance.PollKeepsToItsTimeout(t, server) }

func TestStep01_AClosedEngineDoesNotPoll(t *testing.T) {
	conformance.AClosedEngineDoesNotPoll(t, server)
}

func TestStep01_SignalsDoNotEndTheLoop(t *testing.T) {
	conformance.SignalsDoNotEndTheLoop(t, server)
}

func TestStep01_TheLoopSleepsWhileNothingHappens(t *testing.T) {
	conformance.SleepsWhileNothingHappens(t, server)
}

func TestStep01_WakeMakesPollReturn(t *testing.T) { conformance.WakeMakesPollReturn(t, server) }

func TestStep01_PollWithoutLimitWaits(t *testing.T) { conformance.PollWithoutLimitWaits(t, server) }

func TestStep01_NoWakeIsLost(t *testing.T) { conformance.NoWakeIsLost(t, server) }

func TestStep01_ManyWakesAreOne(t *testing.T) { conformance.WakesAreOne(t, server) }

// Step 2: a burst of clients

func TestStep02_HundredClientsConnectAndTheCountIs100(t *testing.T) {
	conformance.HundredClientsAreCounted(t, server)
}

func TestStep02_ClientsWaitInTheAcceptQueue(t *testing.T) {
	conformance.ClientsWaitInTheAcceptQueue(t, server)
}

func TestStep02_ABurstIsOneEdge(t *testing.T) {
	conformance.ABurstOfClientsIsAccepted(t, server, 1000)
}

func TestStep02_AcceptedSocketsAreSafe(t *testing.T) {
	conformance.AcceptedSocketsAreSafe(t, server)
}

func TestStep02_ConnectionsAreEdgeTriggered(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithHandler(conformance.Silent))
	client := lab.Dial()
	client.WantOpen()
	lab.Did("look at the interest list")
	for _, interest := range lab.EpollTable() {
		if interest.FD == client.ServerFD() {
			wantEdgeTriggered(lab, "the connection", interest)
			return
		}
	}
	lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "not-in-the-interest-list",
		Problem: "the connection should be in the interest list, but is not"})
}

// Step 3: reading until there is nothing left

func TestStep03_DataArrivesWholeAndInOrder(t *testing.T) {
	conformance.DataArrivesWholeAndInOrder(t, server)
}

func TestStep03_DataBeforeAcceptIsRead(t *testing.T) {
	conformance.DataBeforeAcceptIsRead(t, server)
}

func TestStep03_DataDuringACallbackIsRead(t *testing.T) {
	conformance.DataDuringACallbackIsRead(t, server)
}

func TestStep03_MoreToReadIsNotWaitedFor(t *testing.T) {
	conformance.MoreToReadIsNotWaitedFor(t, server)
}

func TestStep03_AFullReadIsLookedBehind(t *testing.T) {
	conformance.AFullReadIsLookedBehind(t, server)
}

func TestStep03_ABudgetOfOneLosesNothing(t *testing.T) {
	conformance.ABudgetOfOneLosesNothing(t, server)
}

func TestStep03_AFloodDoesNotStarveOthers(t *testing.T) {
	conformance.AFloodDoesNotStarveOthers(t, server)
}

func TestStep03_AnEmptyReadIsNoError(t *testing.T) { conformance.AnEmptyReadIsNoError(t, server) }

// Step 4: the end, and short reads

func TestStep04_ClientsLeaveNothingBehind(t *testing.T) {
	conformance.ClientsLeaveNothingBehind(t, server)
}

func TestStep04_LastBytesBeforeTheEndAreDelivered(t *testing.T) {
	conformance.LastBytesBeforeTheEndAreDelivered(t, server)
}

func TestStep04_TheEndAfterAShortRead(t *testing.T) { conformance.TheEndAfterAShortRead(t, server) }

func TestStep04_UrgentDataDoesNotStopTheStream(t *testing.T) {
	conformance.UrgentDataDoesNotStopTheStream(t, server)
}

func TestStep04_OnCloseTellsHowItEnded(t *testing.T) {
	conformance.OnCloseTellsHowItEnded(t, server)
}

func TestStep04_ClientsMayLeaveBeforeTheyAreAccepted(t *testing.T) {
	conformance.SurvivesClientsThatLeaveBeforeAccept(t, server)
}

func TestStep04_AMessageCostsOneRead(t *testing.T) {
	const messages = 200
	lab := labtest.Start(t, server, labtest.WithHandler(conformance.Silent))
	client := lab.Dial()
	client.WantOpen()
	before := lab.Stats()
	lab.Did("%d messages of 64 bytes, one at a time", messages)
	for i := range messages {
		client.SendQuietly(labtest.Pattern(i, 64))
		lab.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: client, Problem: "a message should be read, but is not"},
			func(engine.Engine) bool { return client.Received() == int64(64*(i+1)) })
	}
	after := lab.Stats()
	reads := after.Calls[engine.CallRead] - before.Calls[engine.CallRead]
	switch {
	case reads < messages/2:
		lab.Got("%d calls of read", reads)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
			Problem: fmt.Sprintf("Stats.Calls should count the calls of read that %d messages cost, but shows %d", messages, reads)})
	case reads > messages*21/20:
		lab.Got("%d calls of read, %d EAGAINs", reads, after.EAGAINs-before.EAGAINs)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "read-finds-nothing",
			Problem: fmt.Sprintf("a message that fits the buffer should cost one read, but %d messages cost %d", messages, reads)})
	}
}

// Step 5: writing without epoll_ctl

func TestStep05_EchoesWholeAndInOrder(t *testing.T) { conformance.EchoesWholeAndInOrder(t, server) }

func TestStep05_ALateReaderLosesNothing(t *testing.T) {
	conformance.ALateReaderLosesNothing(t, server)
}

func TestStep05_AFullSendBufferIsNoError(t *testing.T) {
	conformance.AFullSendBufferIsNoError(t, server)
}

func TestStep05_CallsAreCounted(t *testing.T) {
	conformance.CallsAreCounted(t, server, engine.CallEpollWait, engine.CallRead, engine.CallWrite)
}

func TestStep05_AnswersStayInOrder(t *testing.T) { conformance.AnswersStayInOrder(t, server) }

func TestStep05_TheLoopSleepsWhenTheQueueIsEmpty(t *testing.T) {
	conformance.IsIdleAfterALateReader(t, server)
}

func TestStep05_ManyIdleConnectionsCostNothing(t *testing.T) {
	conformance.ManyIdleConnectionsCostNothing(t, server, 1000)
}

func TestStep05_AHalfCloseGetsItsAnswer(t *testing.T) {
	conformance.HalfCloseGetsItsAnswer(t, server)
}

func TestStep05_AResetWhileWritingHurtsNobody(t *testing.T) {
	conformance.AResetWhileWritingHurtsNobody(t, server)
}

func TestStep05_NeitherMessageNorStallCostsAnEpollCtl(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	client := lab.DialSmall()
	client.Echo([]byte("first"))
	before := lab.Stats()
	if before.Calls[engine.CallEpollCtl] == 0 {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
			Problem: "Stats.Calls should count epoll_ctl (a connection needs one), but shows none"})
	}
	for i := range 3 {
		data := labtest.Pattern(i, 8<<20)
		client.SendInBackground(data)
		client.WaitStalled()
		client.Want(data)
		client.WaitSent()
	}
	after := lab.Stats()
	if n := after.Calls[engine.CallEpollCtl] - before.Calls[engine.CallEpollCtl]; n > 0 {
		lab.Got("%d calls of epoll_ctl", n)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "epoll_ctl-per-stall",
			Problem: fmt.Sprintf("a connection that is registered should need no epoll_ctl any more, but with %d short writes it took %d", after.ShortWrites-before.ShortWrites, n)})
	}
}

func TestStep05_ManyReadyConnectionsNeedFewWaits(t *testing.T) {
	conformance.ManyReadyConnectionsNeedFewWaits(t, server)
}

func TestStep05_TenThousandClientsAreServed(t *testing.T) {
	conformance.ACrowdIsServed(t, server, 10_000)
}

// Step 6: backpressure and limits

func TestStep06_ASlowReaderIsNotReadFrom(t *testing.T) {
	conformance.ASlowReaderIsNotReadFrom(t, server)
}

func TestStep06_ReadingGoesOnAtTheLowWaterMark(t *testing.T) {
	conformance.ReadingGoesOnAtTheLowWaterMark(t, server)
}

func TestStep06_APausedClientThatEndsIsQuiet(t *testing.T) {
	conformance.APausedClientThatEndsIsQuiet(t, server)
}

func TestStep06_SendStopsAtTheHardLimit(t *testing.T) {
	conformance.SendStopsAtTheHardLimit(t, server)
}

func TestStep06_APingBesideFloods(t *testing.T) { conformance.APingBesideFloods(t, server) }

func TestStep06_RunningOutOfDescriptorsIsSurvived(t *testing.T) {
	conformance.RunsOutOfDescriptorsAndRecovers(t, server)
}

func TestStep06_AcceptingGoesOnByItself(t *testing.T) {
	conformance.AcceptingGoesOnByItself(t, server)
}

func TestStep06_AnAcceptThatKeepsFailingIsNoBusyLoop(t *testing.T) {
	conformance.AnAcceptThatKeepsFailingIsNoBusyLoop(t, server)
}

func TestStep06_MaxConnectionsIsKept(t *testing.T) { conformance.MaxConnectionsIsKept(t, server) }

func TestStep06_IdleConnectionsAreClosed(t *testing.T) {
	conformance.IdleConnectionsAreClosed(t, server)
}

func TestStep06_AnIdleTimeoutNeedsNoTraffic(t *testing.T) {
	conformance.AnIdleTimeoutNeedsNoTraffic(t, server)
}

func TestStep06_SlowTurnsAreCounted(t *testing.T) { conformance.SlowTurnsAreCounted(t, server) }

// Step 7: closing

func TestStep07_TheHandlerCanClose(t *testing.T) { conformance.TheHandlerCanClose(t, server) }

func TestStep07_AnEventAfterCloseIsDropped(t *testing.T) {
	conformance.AnEventAfterCloseIsDropped(t, server)
}

func TestStep07_AStaleEventHitsNobody(t *testing.T) { conformance.AStaleEventHitsNobody(t, server) }

func TestStep07_CloseWriteSendsWhatIsQueued(t *testing.T) {
	conformance.CloseWriteSendsWhatIsQueued(t, server)
}

func TestStep07_EveryCallbackMaySend(t *testing.T) { conformance.EveryCallbackMaySend(t, server) }

func TestStep07_ACloseBetweenTurnsIsHeard(t *testing.T) {
	conformance.CloseBetweenTurnsIsHeard(t, server)
}

func TestStep07_NothingIsLeftInTheInterestList(t *testing.T) {
	lab := labtest.Start(t, server)
	before := len(lab.EpollTable())
	clients := lab.DialMany(20)
	lab.WantCount(20)
	fd := clients[7].ServerFD()
	lab.Did("one of the server's sockets is duplicated, as a child process would have it")
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	lab.CloseAll(clients)
	lab.WantCount(0)
	lab.Did("look at the interest list")
	if after := len(lab.EpollTable()); after != before {
		lab.Got("%d entries, %d before the first client", after, before)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "registration-outlives-close",
			Problem: fmt.Sprintf("when all have left, the interest list should be as it was (%d entries), but has %d", before, after)})
	}
}

func TestStep07_ShutdownSendsWhatIsQueued(t *testing.T) {
	conformance.ShutdownSendsWhatIsQueued(t, server)
}

func TestStep07_ShutdownDiscardsFromPausedClients(t *testing.T) {
	conformance.ShutdownDiscardsFromPausedClients(t, server)
}

func TestStep07_ShutdownKeepsItsDeadline(t *testing.T) {
	conformance.ShutdownKeepsItsDeadline(t, server)
}

func TestStep07_ShutdownSleepsWhileItWaits(t *testing.T) {
	conformance.ShutdownSleepsWhileItWaits(t, server)
}

func TestStep07_CloseEndsEverything(t *testing.T) { conformance.CloseEndsEverything(t, server) }

// Step 8: a second goroutine

// worker is a service that answers each piece of data with what work makes of it, on
// another goroutine, and data that begins with a dot by itself.
type worker struct {
	t    *testing.T
	work func(data []byte) []byte
}

func (worker) OnOpen(engine.Conn) {}

func (w worker) OnData(c engine.Conn, data []byte) {
	if data[0] == '.' {
		c.Send(data)
		return
	}
	data = bytes.Clone(data)
	if err := c.(epollet.Offloader).Offload(func() []byte { return w.work(data) }); err != nil {
		w.t.Errorf("Offload in OnData: %v", err)
	}
}

func (worker) OnClose(engine.Conn, error) {}

// gate is work that waits, when it is told to by its data, until it is let go.
type gate struct {
	once    sync.Once
	open    chan struct{}
	waiting atomic.Int32
}

func newGate(t *testing.T) *gate {
	g := &gate{open: make(chan struct{})}
	t.Cleanup(g.letGo)
	return g
}

func (g *gate) letGo() { g.once.Do(func() { close(g.open) }) }

func (g *gate) work(data []byte) []byte {
	if bytes.HasPrefix(data, []byte("wait")) {
		g.waiting.Add(1)
		<-g.open
	}
	return bytes.ToUpper(data)
}

// waits sends what makes the work wait, and waits until it does.
func (g *gate) waits(lab *labtest.Lab, client *labtest.Client) {
	lab.SuspectNext(labtest.Rule{ID: "work-on-the-loop", For: []labtest.Symptom{labtest.PollBlocks, labtest.CallBlocks}})
	defer lab.SuspectNext()
	client.Send([]byte("wait"))
	lab.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: client, Problem: "Offload should run the work, but does not"},
		func(engine.Engine) bool { return g.waiting.Load() > 0 })
}

func TestStep08_AnAnswerComesFromAnotherGoroutine(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, bytes.ToUpper}))
	client := lab.Dial()
	client.Suspect(labtest.Rule{ID: "oneshot-not-rearmed", For: []labtest.Symptom{labtest.NoData}})
	lab.Did("a hundred times: a message, and its answer")
	for range 100 {
		client.SendQuietly([]byte("hello"))
		client.WantQuietly([]byte("HELLO"))
	}
	clients := lab.DialMany(50)
	lab.Did("twenty times: all of them send a message, and read the answer")
	for range 20 {
		for _, c := range clients {
			c.SendQuietly([]byte("hello"))
		}
		for _, c := range clients {
			c.WantQuietly([]byte("HELLO"))
		}
	}
}

func TestStep08_AfterTheAnswerAllIsAsBefore(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, func(data []byte) []byte {
		if string(data) == "nothing" {
			return nil
		}
		return bytes.ToUpper(data)
	}}))
	client := lab.Dial()
	client.Send([]byte("work"))
	client.Want([]byte("WORK"))
	rearmed := labtest.Rule{ID: "rearmed-by-half"}
	lab.SuspectNext(rearmed)
	lab.WantIdle()
	lab.SuspectNext()
	client.Send([]byte("nothing"))
	client.WaitDelivered()
	lab.Turns(3)
	client.Suspect(labtest.Rule{ID: "oneshot-not-rearmed", When: func(s *labtest.Scene) bool { return !s.Armed("EPOLLIN") }}, rearmed)
	client.Send([]byte("go on"))
	client.Want([]byte("GO ON"))
	lab.Did("its next message and its end of data arrive together, and need no work")
	lab.Pause()
	client.Send([]byte("."))
	client.CloseWrite()
	client.WaitDelivered()
	lab.Resume()
	client.Want([]byte("."))
	client.WantEOF()
	client.WantClosed()
}

func TestStep08_WorkIsNoIdleness(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithConfig(engine.Config{IdleTimeout: 2 * time.Second}), labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	g.waits(lab, client)
	silent := lab.Dial()
	silent.WantOpen()
	silent.WantClosed()
	lab.Did("look whether %s is still there, whose work is under way", client.Name)
	if client.IsClosed() {
		lab.Fail(labtest.Failure{Symptom: labtest.EarlyEOF, Client: client, Suspect: "idle-beside-work",
			Problem: fmt.Sprintf("%s waits for its answer and should not be closed as idle, but was", client.Name)})
	}
	g.letGo()
	client.Want([]byte("WAIT"))
}

func TestStep08_WorkThatIsDoneIsNoExcuse(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithConfig(engine.Config{IdleTimeout: 200 * time.Millisecond, HighWater: 32 << 20, HardLimit: 64 << 20}),
		labtest.WithHandler(worker{t, func(data []byte) []byte { return data }}))
	client := lab.DialSmall()
	conn := client.WantOpen()
	lab.Did("16 MiB are sent to it, then its work is done at once; it reads nothing")
	lab.Do(func(engine.Engine) {
		conn.Send(labtest.Pattern(1, 16<<20))
		conn.(epollet.Offloader).Offload(func() []byte { return []byte("done") })
	})
	client.Suspect(labtest.Rule{ID: "away-for-ever"})
	if err := client.WantClosed(); !errors.Is(err, engine.ErrIdleTimeout) {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: client, Problem: fmt.Sprintf("OnClose should get ErrIdleTimeout, but got %v", err)})
	}
}

func TestStep08_AnAnswerPastTheHardLimitEndsTheConnection(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithConfig(engine.Config{HighWater: 64 << 10, HardLimit: 1 << 20}),
		labtest.WithHandler(worker{t, func([]byte) []byte { return make([]byte, 2<<20) }}))
	client := lab.Dial()
	lab.Did("the work's answer is 2 MiB, twice the hard limit")
	client.Suspect(labtest.Rule{ID: "answer-refused-in-silence"})
	client.Send([]byte("work"))
	if err := client.WantClosed(); !errors.Is(err, engine.ErrBackpressure) {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: client, Problem: fmt.Sprintf("OnClose should get ErrBackpressure, but got %v", err)})
	}
}

func TestStep08_ThereIsNoWorkForAClosedConnection(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithHandler(conformance.Silent))
	client := lab.Dial()
	conn := client.WantOpen()
	lab.Did("Offload after CloseWrite")
	var err error
	lab.Do(func(engine.Engine) {
		conn.CloseWrite()
		err = conn.(epollet.Offloader).Offload(func() []byte { return []byte("too late") })
	})
	if !errors.Is(err, engine.ErrClosed) {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "send-after-close",
			Problem: fmt.Sprintf("Offload should return ErrClosed after CloseWrite, but returned %v", err)})
	}
	client.WantEOF()
}

func TestStep08_WorkDoesNotHoldTheLoopUp(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	slow, other := lab.Dial(), lab.Dial()
	g.waits(lab, slow)
	lab.SuspectNext(labtest.Rule{ID: "work-on-the-loop"})
	other.Send([]byte("quick"))
	other.Want([]byte("QUICK"))
	lab.SuspectNext()
	g.letGo()
	slow.Want([]byte("WAIT"))
}

func TestStep08_AnswersStayInOrder(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	g.waits(lab, client)
	for range 3 {
		client.Send([]byte(" and more"))
		client.WaitDelivered()
	}
	lab.Did("look whether more than the first message has reached OnData")
	lab.Turns(3)
	if n := client.Received(); n != 4 {
		lab.Got("%d bytes", n)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "read-while-away",
			Problem: fmt.Sprintf("while work is under way nothing should be read from its connection, but OnData had %d bytes, not 4", n)})
	}
	g.letGo()
	client.Suspect(labtest.Rule{ID: "oneshot-not-rearmed", For: []labtest.Symptom{labtest.NoData}})
	client.Want([]byte("WAIT AND MORE AND MORE AND MORE"))
}

func TestStep08_AConnectionThatIsAwayIsSilent(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	g.waits(lab, client)
	before := lab.Stats().Wakeups
	lab.Did("meanwhile it sends 100 times one byte")
	for range 100 {
		client.SendQuietly([]byte("x"))
		client.WaitDelivered()
		lab.Turns(1)
	}
	if n := lab.Stats().Wakeups - before; n > 2 {
		lab.Got("%d wakeups", n)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "away-wakes-the-loop",
			Problem: fmt.Sprintf("a connection whose work is under way should not wake the loop, but 100 packets woke it %d times", n)})
	}
	lab.Did("and then resets")
	client.Reset()
	lab.WantIdle()
	g.letGo()
	lab.WantCount(0)
}

func TestStep08_AHalfCloseGetsItsAnswer(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	g.waits(lab, client)
	client.CloseWrite()
	client.WaitDelivered()
	g.letGo()
	client.Want([]byte("WAIT"))
	client.WantEOF()
	client.WantClosed()
}

func TestStep08_AnAnswerForAClosedConnectionReachesNobody(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	conn := client.WantOpen()
	g.waits(lab, client)
	var again error
	lab.Do(func(engine.Engine) { again = conn.(epollet.Offloader).Offload(func() []byte { return nil }) })
	if !errors.Is(again, epollet.ErrOffloaded) {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client,
			Problem: fmt.Sprintf("Offload should return ErrOffloaded while earlier work is under way, but returned %v", again)})
	}
	fd := client.ServerFD()
	lab.Did("the handler closes the connection whose work is under way")
	lab.Do(func(engine.Engine) { conn.Close() })
	client.WantClosed()
	// The stranger's end at the server gets the number that has come free: all below it
	// are taken, and it is itself until the stranger's own end has another.
	lab.Pause()
	defer labtest.PlugBelow(fd - 1)()
	free := labtest.PlugBelow(fd)
	stranger := lab.Dial()
	free()
	lab.Resume()
	stranger.WantOpen()
	lab.Did("%s has descriptor %d now, which was %d", stranger.Name, stranger.ServerFD(), fd)
	stranger.Send([]byte("first"))
	stranger.Want([]byte("FIRST"))
	g.letGo()
	lab.Did("the work comes to its end")
	lab.Turns(3)
	stranger.Suspect(labtest.Rule{ID: "answer-to-a-stranger"})
	for range 20 {
		stranger.SendQuietly([]byte("second"))
		stranger.WantQuietly([]byte("SECOND"))
	}
}

func TestStep08_ShutdownWaitsForTheAnswer(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	g.waits(lab, client)
	ctx, cancel := context.WithTimeout(context.Background(), 20*labtest.Patience)
	defer cancel()
	done := lab.Shutdown(ctx)
	lab.UntilRefused(lab.Addr())
	g.letGo()
	client.Suspect(labtest.Rule{ID: "answer-lost-in-shutdown", For: []labtest.Symptom{labtest.EarlyEOF, labtest.EarlyReset}})
	client.Want([]byte("WAIT"))
	client.WantEOF()
	client.Close()
	if err := lab.WantDone(done, labtest.Patience); err != nil {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Shutdown should return nil when every connection has ended in order, but returned %q", err)})
	}
}

func TestStep08_CloseDoesNotWaitForWork(t *testing.T) {
	g := newGate(t)
	lab := labtest.Start(t, server, labtest.WithHandler(worker{t, g.work}))
	client := lab.Dial()
	g.waits(lab, client)
	lab.Pause()
	lab.Did("Close, while the work is under way")
	lab.Do(func(e engine.Engine) { e.Close() })
	if err := client.WantClosed(); !errors.Is(err, engine.ErrClosed) {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: client, Problem: fmt.Sprintf("OnClose should get ErrClosed, but got %v", err)})
	}
	g.letGo()
}

// Step 9: several loops

func TestStep09_TwoLoopsServe(t *testing.T) { conformance.SeveralLoopsServe(t, twoLoops) }

func TestStep09_LoopsShareTheWork(t *testing.T) { conformance.SeveralLoopsShareTheWork(t, twoLoops) }

func TestStep09_LoopsKeepMaxConnections(t *testing.T) {
	conformance.SeveralLoopsKeepMaxConnections(t, twoLoops)
}

func TestStep09_StatsFromAnywhere(t *testing.T) { conformance.StatsFromAnywhere(t, twoLoops) }

func TestStep09_WakeMakesPollReturn(t *testing.T) {
	conformance.WakeMakesPollReturn(t, twoLoops, labtest.SeveralLoops())
}

func TestStep09_ShutdownSendsWhatIsQueued(t *testing.T) {
	conformance.ShutdownSendsWhatIsQueued(t, twoLoops, labtest.SeveralLoops())
}

func TestStep09_ShutdownDiscardsFromPausedClients(t *testing.T) {
	conformance.ShutdownDiscardsFromPausedClients(t, twoLoops, labtest.SeveralLoops())
}

func TestStep09_ShutdownKeepsItsDeadline(t *testing.T) {
	conformance.ShutdownKeepsItsDeadline(t, twoLoops, labtest.SeveralLoops())
}

func TestStep09_CloseEndsEverything(t *testing.T) {
	conformance.CloseEndsEverything(t, twoLoops, labtest.SeveralLoops())
}

func TestStep09_EachLoopKeepsItsThread(t *testing.T) {
	conformance.SeveralLoopsKeepTheirThreads(t, twoLoops)
}

func BenchmarkTurn(b *testing.B) { conformance.BenchmarkTurn(b, server, 5000) }
