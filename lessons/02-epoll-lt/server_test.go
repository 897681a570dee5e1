//go:build linux

package epolllt_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	"iolab/checker/probe"
	epolllt "iolab/lessons/02-epoll-lt"
	"iolab/lessons/engine"
)

// What each test asks is written where it is called, in checker/conformance, in the
// order of the steps. Those that are about epoll alone are here.

var server = conformance.Of(epolllt.New)

// Step 1: the listener

func TestStep01_ANewServerCanBeConnectedTo(t *testing.T) { conformance.ListensAtOnce(t, server) }

func TestStep01_NewSaysWhyItCannotListen(t *testing.T) { conformance.SaysWhyItCannotListen(t, server) }

func TestStep01_EveryDescriptorIsSafe(t *testing.T) { conformance.EveryDescriptorIsSafe(t, server) }

func TestStep01_CloseGivesEverythingBack(t *testing.T) {
	conformance.CloseGivesEverythingBack(t, server)
}

func TestStep01_TheListenerIsInTheInterestList(t *testing.T) {
	lab := labtest.Start(t, server, labtest.Paused())
	lab.Did("look at the interest list")
	for _, interest := range lab.EpollTable() {
		if fd := lab.Listener(); interest.FD == fd && interest.Events&unix.EPOLLIN != 0 {
			return
		}
	}
	lab.Fail(labtest.Failure{Symptom: labtest.CountLow, Suspect: "listener-not-watched",
		Problem: "the listener should be in the interest list with EPOLLIN, but is not"})
}

// Step 2: one turn

func TestStep02_PollKeepsToItsTimeout(t *testing.T) { conformance.PollKeepsToItsTimeout(t, server) }

func TestStep02_AClosedEngineDoesNotPoll(t *testing.T) {
	conformance.AClosedEngineDoesNotPoll(t, server)
}

func TestStep02_SignalsDoNotEndTheLoop(t *testing.T) { conformance.SignalsDoNotEndTheLoop(t, server) }

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

// Step 4: reading, and the end

func TestStep04_DataArrivesWholeAndInOrder(t *testing.T) {
	conformance.DataArrivesWholeAndInOrder(t, server)
}

func TestStep04_LastBytesBeforeTheEndAreDelivered(t *testing.T) {
	conformance.LastBytesBeforeTheEndAreDelivered(t, server)
}

func TestStep04_ClientsLeaveNothingBehind(t *testing.T) {
	conformance.ClientsLeaveNothingBehind(t, server)
}

func TestStep04_OnCloseTellsHowItEnded(t *testing.T) { conformance.OnCloseTellsHowItEnded(t, server) }

func TestStep04_AnEmptyReadIsNoError(t *testing.T) { conformance.AnEmptyReadIsNoError(t, server) }

func TestStep04_ClientsMayLeaveBeforeTheyAreAccepted(t *testing.T) {
	conformance.SurvivesClientsThatLeaveBeforeAccept(t, server)
}

func TestStep04_ClosedConnectionsLeaveTheInterestList(t *testing.T) {
	lab := labtest.Start(t, server)
	before := len(lab.EpollTable())
	clients := lab.DialMany(20)
	lab.WantCount(20)
	lab.CloseAll(clients)
	lab.WantCount(0)
	lab.Did("look at the interest list")
	if after := len(lab.EpollTable()); after != before {
		lab.Got("%d entries, %d before the first client", after, before)
		lab.Fail(labtest.Failure{Symptom: labtest.DescriptorsLeak, Suspect: "registration-outlives-close",
			Problem: fmt.Sprintf("when all have left, the interest list should be as it was (%d entries), but has %d", before, after)})
	}
}

// Step 5: writing

func TestStep05_EchoesWholeAndInOrder(t *testing.T) { conformance.EchoesWholeAndInOrder(t, server) }

func TestStep05_ALateReaderLosesNothing(t *testing.T) { conformance.ALateReaderLosesNothing(t, server) }

func TestStep05_AFullSendBufferIsNoError(t *testing.T) {
	conformance.AFullSendBufferIsNoError(t, server)
}

func TestStep05_CallsAreCounted(t *testing.T) {
	conformance.CallsAreCounted(t, server, engine.CallEpollWait, engine.CallRead, engine.CallWrite)
}

func TestStep05_AnswersStayInOrder(t *testing.T) { conformance.AnswersStayInOrder(t, server) }

func TestStep05_WriteInterestIsDisarmedWhenTheQueueIsEmpty(t *testing.T) {
	conformance.IsIdleAfterALateReader(t, server)
}

func TestStep05_ManyIdleConnectionsCostNothing(t *testing.T) {
	conformance.ManyIdleConnectionsCostNothing(t, server, 1000)
}

func TestStep05_AHalfCloseGetsItsAnswer(t *testing.T) { conformance.HalfCloseGetsItsAnswer(t, server) }

func TestStep05_AResetWhileWritingHurtsNobody(t *testing.T) {
	conformance.AResetWhileWritingHurtsNobody(t, server)
}

func TestStep05_AMessageCostsNoEpollCtl(t *testing.T) {
	const messages = 1000
	lab := labtest.Start(t, server)
	client := lab.Dial()
	client.Echo([]byte("first"))
	before := lab.Stats().Calls[engine.CallEpollCtl]
	if before == 0 {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
			Problem: "Stats.Calls should count epoll_ctl (a connection needs at least one), but shows none"})
	}
	lab.Did("%d messages, each read back before the next", messages)
	for range messages {
		client.EchoQuietly([]byte("message"))
	}
	if n := lab.Stats().Calls[engine.CallEpollCtl] - before; n > messages/100 {
		lab.Got("%d calls of epoll_ctl", n)
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: client, Suspect: "epoll_ctl-per-message",
			Problem: fmt.Sprintf("a message that the kernel takes whole should need no epoll_ctl, but %d messages cost %d", messages, n)})
	}
}

func TestStep05_ManyReadyConnectionsNeedFewWaits(t *testing.T) {
	conformance.ManyReadyConnectionsNeedFewWaits(t, server)
}

// Step 6: closing

func TestStep06_TheHandlerCanClose(t *testing.T) { conformance.TheHandlerCanClose(t, server) }

func TestStep06_AnEventAfterCloseIsDropped(t *testing.T) {
	conformance.AnEventAfterCloseIsDropped(t, server)
}

func TestStep06_AStaleEventHitsNobody(t *testing.T) { conformance.AStaleEventHitsNobody(t, server) }

func TestStep06_CloseWriteSendsWhatIsQueued(t *testing.T) {
	conformance.CloseWriteSendsWhatIsQueued(t, server)
}

func TestStep06_EveryCallbackMaySend(t *testing.T) { conformance.EveryCallbackMaySend(t, server) }

func TestStep06_ACloseBetweenTurnsIsHeard(t *testing.T) {
	conformance.CloseBetweenTurnsIsHeard(t, server)
}

func TestStep06_ADuplicatedDescriptorDoesNotHauntTheLoop(t *testing.T) {
	lab := labtest.Start(t, server)
	client := lab.Dial()
	conn := client.WantOpen()
	fd, _ := probe.SocketByPeer(os.Getpid(), client.Local())
	lab.Did("the server's socket is duplicated, as a child process would have it")
	dup, err := unix.FcntlInt(uintptr(fd.Num), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dup)
	lab.Did("the handler closes the connection")
	lab.Do(func(engine.Engine) { conn.Close() })
	client.WantClosed()
	client.Send([]byte("anybody there?"))
	lab.SuspectNext(labtest.Rule{ID: "registration-outlives-close"})
	lab.WantIdle()
}

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

// Step 8: limits

func TestStep08_RunningOutOfDescriptorsIsSurvived(t *testing.T) {
	conformance.RunsOutOfDescriptorsAndRecovers(t, server)
}

func TestStep08_AcceptingGoesOnByItself(t *testing.T) {
	conformance.AcceptingGoesOnByItself(t, server)
}

func TestStep08_AnAcceptThatKeepsFailingIsNoBusyLoop(t *testing.T) {
	conformance.AnAcceptThatKeepsFailingIsNoBusyLoop(t, server)
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
