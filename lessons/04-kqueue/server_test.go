//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package kqueueloop_test

import (
	"fmt"
	"testing"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	kqueueloop "iolab/lessons/04-kqueue"
	"iolab/lessons/engine"
)

// What each test asks is written where it is called, in checker/conformance, in the
// order of the steps. Those that are about kqueue alone are here.

var server = conformance.Of(kqueueloop.New)

// Step 1: the queue

func TestStep01_ANewServerCanBeConnectedTo(t *testing.T) { conformance.ListensAtOnce(t, server) }

func TestStep01_NewSaysWhyItCannotListen(t *testing.T) { conformance.SaysWhyItCannotListen(t, server) }

func TestStep01_EveryDescriptorIsSafe(t *testing.T) { conformance.EveryDescriptorIsSafe(t, server) }

func TestStep01_CloseGivesEverythingBack(t *testing.T) {
	conformance.CloseGivesEverythingBack(t, server)
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

func TestStep03_ABurstOfClientsIsAccepted(t *testing.T) {
	conformance.ABurstOfClientsIsAccepted(t, server, 300)
}

func TestStep03_AcceptedSocketsAreSafe(t *testing.T) { conformance.AcceptedSocketsAreSafe(t, server) }

// Step 4: reading, and the end

func TestStep04_DataArrivesWholeAndInOrder(t *testing.T) {
	conformance.DataArrivesWholeAndInOrder(t, server)
}

func TestStep04_DataBeforeAcceptIsRead(t *testing.T) { conformance.DataBeforeAcceptIsRead(t, server) }

func TestStep04_DataDuringACallbackIsRead(t *testing.T) {
	conformance.DataDuringACallbackIsRead(t, server)
}

func TestStep04_MoreToReadIsNotWaitedFor(t *testing.T) {
	conformance.MoreToReadIsNotWaitedFor(t, server)
}

func TestStep04_LastBytesBeforeTheEndAreDelivered(t *testing.T) {
	conformance.LastBytesBeforeTheEndAreDelivered(t, server)
}

func TestStep04_ClientsLeaveNothingBehind(t *testing.T) {
	conformance.ClientsLeaveNothingBehind(t, server)
}

func TestStep04_OnCloseTellsHowItEnded(t *testing.T) { conformance.OnCloseTellsHowItEnded(t, server) }

func TestStep04_AnEmptyReadIsNoError(t *testing.T) { conformance.AnEmptyReadIsNoError(t, server) }

func TestStep04_UrgentDataDoesNotStopTheStream(t *testing.T) {
	conformance.UrgentDataDoesNotStopTheStream(t, server)
}

func TestStep04_ClientsMayLeaveBeforeTheyAreAccepted(t *testing.T) {
	conformance.SurvivesClientsThatLeaveBeforeAccept(t, server)
}

// Step 5: writing

func TestStep05_EchoesWholeAndInOrder(t *testing.T) { conformance.EchoesWholeAndInOrder(t, server) }

func TestStep05_ALateReaderLosesNothing(t *testing.T) { conformance.ALateReaderLosesNothing(t, server) }

func TestStep05_AFullSendBufferIsNoError(t *testing.T) {
	conformance.AFullSendBufferIsNoError(t, server)
}

func TestStep05_CallsAreCounted(t *testing.T) {
	conformance.CallsAreCounted(t, server, engine.CallKevent, engine.CallRead, engine.CallWrite)
}

func TestStep05_AnswersStayInOrder(t *testing.T) { conformance.AnswersStayInOrder(t, server) }

func TestStep05_WriteInterestIsGoneWhenTheQueueIsEmpty(t *testing.T) {
	conformance.IsIdleAfterALateReader(t, server)
}

func TestStep05_ManyIdleConnectionsCostNothing(t *testing.T) {
	conformance.ManyIdleConnectionsCostNothing(t, server, 1000)
}

func TestStep05_AHalfCloseGetsItsAnswer(t *testing.T) { conformance.HalfCloseGetsItsAnswer(t, server) }

func TestStep05_AResetWhileWritingHurtsNobody(t *testing.T) {
	conformance.AResetWhileWritingHurtsNobody(t, server)
}

func TestStep05_ATurnIsOneCall(t *testing.T) {
	const clients, rounds = 20, 20
	lab := labtest.Start(t, server, labtest.Paused())
	all := lab.DialMany(clients)
	before, turns := lab.Stats().Calls[engine.CallKevent], uint64(0)
	turn := func(f labtest.Failure, done func(e engine.Engine) bool) {
		lab.TurnsUntil(f, func(e engine.Engine) bool { turns++; return done(e) })
	}
	turn(labtest.Failure{Symptom: labtest.CountLow, Problem: "20 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == clients })
	lab.Did("%d clients send a message each, %d times", clients, rounds)
	for round := range uint64(rounds) {
		for _, c := range all {
			c.SendQuietly([]byte("message"))
		}
		for _, c := range all {
			c.WaitDelivered()
		}
		turn(labtest.Failure{Symptom: labtest.NoData, Client: all[0], Problem: "every message should be answered, but is not"},
			func(e engine.Engine) bool { return e.Stats().BytesOut == (round+1)*clients*uint64(len("message")) })
	}
	calls := lab.Stats().Calls[engine.CallKevent] - before
	lab.Got("%d turns, %d calls of kevent", turns, calls)
	switch {
	case calls < turns/2:
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
			Problem: fmt.Sprintf("Stats.Calls should count each kevent, but in %d turns it counts %d", turns, calls)})
	case calls > turns+turns/10:
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "kevent-per-change",
			Problem: fmt.Sprintf("changes should go along with the wait, so that a turn is one kevent, but %d turns made %d calls", turns, calls)})
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

func TestStep09_ShutdownSleepsWhileItWaits(t *testing.T) {
	conformance.ShutdownSleepsWhileItWaits(t, server)
}

func TestStep09_ShutdownKeepsItsDeadline(t *testing.T) {
	conformance.ShutdownKeepsItsDeadline(t, server)
}

func TestStep09_CloseEndsEverything(t *testing.T) { conformance.CloseEndsEverything(t, server) }

func BenchmarkTurn(b *testing.B) { conformance.BenchmarkTurn(b, server, 5000) }
