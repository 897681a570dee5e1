package selectloop_test

import (
	"fmt"
	"testing"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	selectloop "iolab/lessons/01-select"
	"iolab/lessons/01-select/sys"
	"iolab/lessons/engine"
)

// What each test asks is written where it is called, in checker/conformance, in the
// order of the steps. Those that are about select alone are here.

var server = conformance.Of(selectloop.New)

// Step 1: the listener

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

func TestStep03_TheSetsOutliveTheTurn(t *testing.T) {
	lab := labtest.Start(t, server, labtest.Paused())
	accepted := func(client *labtest.Client, n int, cause, problem string) {
		waits := func(s *labtest.Scene) bool { return s.Listener.AcceptQueue > 0 }
		lab.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: client, Suspects: []labtest.Rule{{ID: cause, When: waits}}, Problem: problem},
			func(e engine.Engine) bool { return e.ConnectionCount() == n })
	}
	// The listener is the highest descriptor so far.
	accepted(lab.Dial(), 1, "nfds-off-by-one", "a client should be accepted in the first turns, but is not")
	lab.Did("two turns in which nothing happens")
	lab.Turn(0)
	lab.Turn(0)
	accepted(lab.Dial(), 2, "fd-set-consumed", "a client should be accepted also after turns in which nothing happened, but is not")
}

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

func TestStep04_TheHighestDescriptorIsServed(t *testing.T) {
	lab := labtest.Start(t, server, labtest.WithHandler(conformance.Silent))
	clients := lab.DialMany(10)
	lab.WantCount(10)
	clients[0].Close() // the next one gets a low number, and is the last nevertheless
	clients[0].WantClosed()
	clients[0] = lab.Dial()
	clients[0].WantOpen()
	for i := len(clients) - 1; i >= 0; i-- { // after each close another one is the highest
		client := clients[i]
		client.Suspect(labtest.Rule{ID: "nfds-off-by-one", For: []labtest.Symptom{labtest.NoData, labtest.NoOnClose}})
		client.Send([]byte("I am the highest"))
		lab.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: client,
			Problem: fmt.Sprintf("the bytes of %s, which has the highest descriptor, should arrive, but do not", client.Name)},
			func(engine.Engine) bool { return client.Received() == 16 })
		client.Close()
		client.WantClosed()
	}
}

// Step 5: writing

func TestStep05_EchoesWholeAndInOrder(t *testing.T) { conformance.EchoesWholeAndInOrder(t, server) }

func TestStep05_ALateReaderLosesNothing(t *testing.T) { conformance.ALateReaderLosesNothing(t, server) }

func TestStep05_AFullSendBufferIsNoError(t *testing.T) {
	conformance.AFullSendBufferIsNoError(t, server)
}

func TestStep05_CallsAreCounted(t *testing.T) {
	conformance.CallsAreCounted(t, server, engine.CallSelect, engine.CallRead, engine.CallWrite)
}

func TestStep05_AnswersStayInOrder(t *testing.T) { conformance.AnswersStayInOrder(t, server) }

func TestStep05_WriteInterestIsDisarmedWhenTheQueueIsEmpty(t *testing.T) {
	conformance.IsIdleAfterALateReader(t, server)
}

func TestStep05_ManyIdleConnectionsCostNothing(t *testing.T) {
	conformance.ManyIdleConnectionsCostNothing(t, server, 900)
}

func TestStep05_AHalfCloseGetsItsAnswer(t *testing.T) { conformance.HalfCloseGetsItsAnswer(t, server) }

func TestStep05_AResetWhileWritingHurtsNobody(t *testing.T) {
	conformance.AResetWhileWritingHurtsNobody(t, server)
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

func TestStep08_ADescriptorBeyondTheSetIsRefused(t *testing.T) {
	lab := labtest.Start(t, server)
	low := lab.Dial()
	low.Echo([]byte("before"))
	release := lab.Raise(sys.FD_SETSIZE)
	lab.SuspectNext(labtest.Rule{ID: "fd-beyond-fd_setsize"})
	high := lab.Dial()
	high.WantGone()
	if s := lab.Stats(); s.Refused != 1 || s.Connections != 1 {
		lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: high,
			Problem: fmt.Sprintf("the connection should be closed and counted as refused, but Stats show %d refused and %d connections", s.Refused, s.Connections)})
	}
	low.Echo([]byte("undisturbed"))
	release()
	lab.Dial().Echo([]byte("low again"))
}

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

func BenchmarkTurn(b *testing.B) { conformance.BenchmarkTurn(b, server, 900) }
