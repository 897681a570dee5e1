package conformance

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// TheHandlerCanClose: Close inside OnData closes the connection, and inside OnOpen, also
// while others wait to be accepted; OnClose comes after the callback has returned and
// before Poll does, with nil, and once.
func TheHandlerCanClose(t *testing.T, newEngine Engine) {
	var again, send error
	calls := map[netip.AddrPort]int{}
	unwanted, turnedAway := false, 0
	l := start(t, newEngine, labtest.WithHandler(service{
		open: func(c engine.Conn) {
			if unwanted {
				turnedAway++
				c.Close()
			}
		},
		data: func(c engine.Conn, _ []byte) {
			calls[c.RemoteAddr()]++
			c.Close()
			again = c.Close()
			send = c.Send([]byte("too late"))
		},
	}))
	l.Did("in OnData the handler calls Close, twice, and then Send")
	c := l.Dial()
	c.Suspect(labtest.Rule{ID: "close-does-nothing", For: []labtest.Symptom{labtest.NoOnClose, labtest.NoEOF}, When: stillOpen},
		labtest.Rule{ID: "close-without-onclose", For: []labtest.Symptom{labtest.NoOnClose}, When: func(s *labtest.Scene) bool { return !s.HasFD }})
	c.Send([]byte("close me"))
	if err := c.WantClosed(); err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c, Suspect: "end-reported-as-error",
			Problem: fmt.Sprintf("OnClose should get nil after the handler's own Close, but got %q", err)})
	}
	c.WantGone()
	l.Pause() // so that again and send are the test's to read
	if again != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Problem: fmt.Sprintf("a second Close should return nil, but returned %q", again)})
	}
	if !errors.Is(send, engine.ErrClosed) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "send-after-close", Problem: fmt.Sprintf("Send after Close should return ErrClosed, but returned %v", send)})
	}
	more := l.Dial() // the lab is paused, and it waits to be accepted
	more.Send(labtest.Pattern(1, 60_000))
	more.WaitDelivered()
	l.Resume()
	more.WantClosed()
	l.WantCount(0)
	if n := calls[more.Local()]; n > 1 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: more, Suspect: "event-after-close",
			Problem: fmt.Sprintf("after Close a connection should get no OnData, though more of its bytes are there, but it got %d more", n-1)})
	}
	l.Pause()
	unwanted = true
	l.Did("from here on the handler calls Close in OnOpen")
	several := l.DialMany(5)
	left := 0
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "5 clients should be accepted, but are not"},
		func(e engine.Engine) bool {
			left = max(left, e.ConnectionCount())
			return turnedAway == 5
		})
	if left > 0 {
		l.Got("%d connections had no OnClose at the end of the turn", left)
		l.Fail(labtest.Failure{Symptom: labtest.CountHigh, Suspect: "onclose-a-turn-late",
			Problem: fmt.Sprintf("a connection that its handler closes should get its OnClose before Poll returns, but %d had not", left)})
	}
	l.Resume()
	for _, c := range several {
		c.WantClosed()
		c.WantGone()
	}
	l.WantCount(0)
	l.WantDescriptorsBack()
}

// stillOpen: the loop goes on, and the client's connection is as it was.
func stillOpen(s *labtest.Scene) bool {
	return s.Answers && s.HasFD && s.Known && !s.Gone && s.Sock.State == "ESTABLISHED" && s.Sock.Unread == 0
}

// AnEventAfterCloseIsDropped: two connections are ready in one batch and the handler
// of the first closes the second: it gets no OnData any more.
func AnEventAfterCloseIsDropped(t *testing.T, newEngine Engine) {
	var conns []engine.Conn
	var served []uint64
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{
		open: func(c engine.Conn) { conns = append(conns, c) },
		data: func(c engine.Conn, _ []byte) {
			served = append(served, c.ID())
			for _, other := range conns {
				if other.ID() != c.ID() {
					other.Close()
				}
			}
		},
	}))
	l.Did("in OnData the handler closes every other connection")
	clients := l.DialMany(4)
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "4 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 4 })
	for _, c := range clients {
		c.Send([]byte("x"))
		c.WaitDelivered()
	}
	l.Did("one turn, in which all four are ready; the handler of the first closes the others")
	l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Problem: "OnData should be called, but is not"},
		func(engine.Engine) bool { return len(served) > 0 })
	l.Turn(0)
	if len(served) > 1 {
		l.Got("%d connections had OnData", len(served))
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "event-after-close",
			Problem: fmt.Sprintf("after Close a connection should get no OnData, but %d that were closed in the same batch did", len(served)-1)})
	}
	l.Resume()
	l.WantCount(1)
}

// AStaleEventHitsNobody: within one batch the handler closes a connection that has
// an event of its own there, and a new client is accepted, which may get the same
// descriptor. The new client must not suffer, not even when the handler goes on using
// what it has of the old connection.
func AStaleEventHitsNobody(t *testing.T, newEngine Engine) {
	var victim engine.Conn
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{data: func(c engine.Conn, data []byte) {
		if victim != nil {
			victim.Close()
			victim = nil
			return
		}
		c.Send(data)
	}}))
	l.Did("in OnData the handler closes the second client's connection")
	for range 8 {
		killer, doomed := l.Dial(), l.Dial()
		l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "2 clients should be accepted, but are not"},
			func(e engine.Engine) bool { return e.ConnectionCount() == 2 })
		victim = doomed.WantOpen()
		old := victim
		l.Turn(0) // level-triggered epoll forgets that the listener was ready only in a turn in which it is not

		// In this order they become ready: one that closes, a newcomer, and the one that
		// is closed. And the number that comes free is the lowest there is.
		killer.Send([]byte("close the other"))
		killer.WaitDelivered()
		fresh := l.Dial()
		end := doomed.ServerFD()
		doomed.Reset()
		unplug := labtest.PlugBelow(end)
		l.Turn(0)
		l.Resume()
		fresh.WantOpen()
		fresh.Suspect(labtest.Rule{ID: "stale-event"})
		fresh.Echo([]byte("nobody closed me"))
		l.WantCount(2)
		l.Pause()

		// Whoever comes now gets the number, if the first newcomer has not.
		free := labtest.PlugBelow(end)
		later := l.Dial()
		free()
		l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: later, Problem: "a client should be accepted, but is not"},
			func(e engine.Engine) bool { return e.ConnectionCount() == 3 })
		unplug()
		l.Did("Send, CloseWrite and Close of the connection that the handler had closed")
		var send error
		var queued int
		l.Do(func(engine.Engine) {
			send, queued = old.Send([]byte("too late")), old.Queued()
			old.CloseWrite()
			old.Close()
		})
		if !errors.Is(send, engine.ErrClosed) || queued != 0 {
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: later, Suspect: "old-conn-hits-newcomer",
				Problem: fmt.Sprintf("Send on a connection that has had its OnClose should return ErrClosed and queue nothing, but it returned %v, and %d bytes are queued", send, queued)})
		}
		l.Resume()
		for _, c := range []*labtest.Client{fresh, later} {
			c.Suspect(labtest.Rule{ID: "old-conn-hits-newcomer"})
			c.Echo([]byte("nor now"))
		}
		l.Pause()
		later.Close()
		killer.Close()
		fresh.Close()
		l.TurnsUntil(labtest.Failure{Symptom: labtest.CountHigh, Problem: "the clients have left, but are still counted"},
			func(e engine.Engine) bool { return e.ConnectionCount() == 0 })
	}
	l.Resume()
}

// CloseWriteSendsWhatIsQueued: the queue goes out, then the end of data; input goes
// on until the client ends it.
func CloseWriteSendsWhatIsQueued(t *testing.T, newEngine Engine) {
	answer := labtest.Pattern(7, 8<<20)
	var late error
	var heard int
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}), labtest.WithHandler(service{
		open: func(c engine.Conn) {
			// In pieces: where a send goes on in the kernel, the end of data comes after it
			// by itself, but not after those that are queued behind it.
			for piece := range slices.Chunk(answer, 64<<10) {
				c.Send(piece)
			}
			c.CloseWrite()
			c.CloseWrite()
			late = c.Send([]byte("too late"))
		},
		data: func(_ engine.Conn, data []byte) { heard += len(data) },
	}))
	l.Did("in OnOpen the handler sends 8 MiB, 64 KiB at a time, calls CloseWrite, twice, and then Send once more, with \"too late\"")
	c := l.DialSmall()
	c.WantOpen()
	c.Suspect(labtest.Rule{ID: "closewrite-drops-queue", For: []labtest.Symptom{labtest.EarlyEOF, labtest.EarlyReset}},
		labtest.Rule{ID: "send-after-close", For: []labtest.Symptom{labtest.WrongBytes}, When: func(s *labtest.Scene) bool { return string(s.Got) == "t" }})
	c.Want(answer)
	c.WantEOF()
	l.Pause()
	if !errors.Is(late, engine.ErrClosed) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "send-after-close", Problem: fmt.Sprintf("Send after CloseWrite should return ErrClosed, but returned %v", late)})
	}
	l.Resume()
	c.Send([]byte("I can still talk"))
	c.Close()
	if err := c.WantClosed(); err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c,
			Suspects: []labtest.Rule{{ID: "accept-context-missing", When: func(s *labtest.Scene) bool { return s.NotConnected() }}, {ID: "end-reported-as-error"}},
			Problem:  fmt.Sprintf("OnClose should get nil when both sides have ended, but got %q", err)})
	}
	l.Pause()
	if heard != 16 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Problem: fmt.Sprintf("after CloseWrite the engine should go on reading, but of 16 bytes %d came", heard)})
	}
	l.Resume()
}

// EveryCallbackMaySend: OnOpen greets, OnData answers, OnClose gets ErrClosed.
func EveryCallbackMaySend(t *testing.T, newEngine Engine) {
	var inClose error
	l := start(t, newEngine, labtest.WithHandler(service{
		open:  func(c engine.Conn) { c.SetState("greeted"); c.Send([]byte("hello ")) },
		data:  func(c engine.Conn, data []byte) { c.Send([]byte(c.State().(string) + " ")); c.Send(data) },
		close: func(c engine.Conn, _ error) { inClose = c.Send([]byte("bye")); c.Close(); c.CloseWrite() },
	}))
	l.Did("the handler sends \"hello \" in OnOpen, \"greeted \" and the data in OnData, and tries to send in OnClose")
	c := l.Dial()
	c.Want([]byte("hello "))
	c.Send([]byte("world"))
	c.Want([]byte("greeted world"))
	c.Close()
	c.WantClosed()
	l.Pause()
	if !errors.Is(inClose, engine.ErrClosed) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "send-after-close", Problem: fmt.Sprintf("Send in OnClose should return ErrClosed, but returned %v", inClose)})
	}
	l.Resume()
}

// CloseBetweenTurnsIsHeard: a connection closed while no turn is under way gets its
// OnClose in the next one, which does not wait for anything else.
func CloseBetweenTurnsIsHeard(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	conn := c.WantOpen()
	for range 3 { // what the kernel still has to say of a new connection
		l.Turn(0)
	}
	l.Did("Close, between two turns; then Poll(1m)")
	l.Do(func(engine.Engine) { conn.Close() })
	if took := l.TurnWithin(time.Minute); took > labtest.Patience {
		l.Got("Poll waits, and has not come back for %v", labtest.Patience)
		l.Fail(labtest.Failure{Symptom: labtest.NoOnClose, Client: c, Suspect: "close-between-turns", Problem: "Poll should not wait while a closed connection has not had its OnClose, but did"})
	}
	c.WantClosed()
}
