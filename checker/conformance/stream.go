package conformance

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"iolab/checker/labtest"
	"iolab/checker/probe"
	"iolab/lessons/engine"
)

// HundredClientsAreCounted: 100 clients connect, and ConnectionCount() is 100.
func HundredClientsAreCounted(t *testing.T, newEngine Engine) {
	l := start(t, newEngine)
	l.DialMany(100)
	l.WantCount(100)
	if s := l.Stats(); s.Accepts != 100 || s.Connections != 100 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
			Problem: fmt.Sprintf("Stats should show 100 connections and 100 accepts, but show %d and %d", s.Connections, s.Accepts)})
	}
}

// ClientsWaitInTheAcceptQueue: those who came before the first Poll are all accepted.
func ClientsWaitInTheAcceptQueue(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	l.DialMany(200)
	l.Resume()
	l.WantCount(200)
}

// AcceptedSocketsAreSafe: each accepted socket is close-on-exec, has TCP_NODELAY and is
// non-blocking. (Not on an io_uring: see EveryDescriptorIsSafe.)
func AcceptedSocketsAreSafe(t *testing.T, newEngine Engine) {
	l := start(t, newEngine)
	c := l.Dial()
	c.WantOpen()
	l.Did("look at the server's socket")
	fd, ok := probe.SocketByPeer(os.Getpid(), c.Local())
	if !ok {
		l.Unavailable("the server's socket cannot be looked at on this system")
	}
	sock, err := probe.Queues(fd.Num)
	if errors.Is(err, probe.ErrUnavailable) {
		l.Unavailable("the server's socket cannot be looked at on this system: %v", err)
	}
	bad := func(cause, problem string) {
		l.Got("fd %d: non-blocking %v, close-on-exec %v, TCP_NODELAY %v", fd.Num, sock.NonBlocking, sock.CloseOnExec, sock.NoDelay)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: cause, Problem: problem})
	}
	switch {
	case !sock.NonBlocking && !l.HasRing():
		bad("blocking-socket", "an accepted socket should be non-blocking, but is not")
	case !sock.CloseOnExec:
		bad("no-close-on-exec", "an accepted socket should be close-on-exec, but is not")
	case !sock.NoDelay:
		bad("no-nodelay", "an accepted socket should have TCP_NODELAY, but has not")
	}
}

// collector is a service that keeps what it receives and sends nothing.
type collector struct {
	mu   sync.Mutex
	data map[uint64][]byte
}

func (k *collector) service() service {
	k.data = map[uint64][]byte{}
	return service{data: func(c engine.Conn, data []byte) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.data[c.ID()] = append(k.data[c.ID()], data...)
	}}
}

func (k *collector) of(id uint64) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.data[id]
}

// DataArrivesWholeAndInOrder: OnData gets every byte of every client, in order.
func DataArrivesWholeAndInOrder(t *testing.T, newEngine Engine) {
	var k collector
	l := start(t, newEngine, labtest.WithHandler(k.service()))
	clients := l.DialMany(3)
	for i, c := range clients {
		c.WantOpen()
		for _, n := range []int{1, 64, 100_000, 1 << 20} {
			c.Send(labtest.Pattern(i, n))
		}
	}
	for i, c := range clients {
		var want []byte
		for _, n := range []int{1, 64, 100_000, 1 << 20} {
			want = append(want, labtest.Pattern(i, n)...)
		}
		id := c.WantOpen().ID()
		l.Did("wait until OnData has had the %d bytes of %s", len(want), c.Name)
		l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: fmt.Sprintf("OnData should get all that %s sent, but does not", c.Name)},
			func(engine.Engine) bool { return len(k.of(id)) >= len(want) })
		if len(k.of(id)) > len(want) {
			l.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Client: c, Suspect: "more-than-was-read",
				Problem: fmt.Sprintf("OnData should get the %d bytes that %s sent, but got %d", len(want), c.Name, len(k.of(id)))})
		}
		if string(k.of(id)) != string(want) {
			l.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Client: c, Problem: fmt.Sprintf("OnData should get the bytes of %s in order, but got others", c.Name)})
		}
	}
}

// LastBytesBeforeTheEndAreDelivered: data, end of data and close arrive together; the
// data counts.
func LastBytesBeforeTheEndAreDelivered(t *testing.T, newEngine Engine) {
	var k collector
	l := start(t, newEngine, labtest.WithHandler(k.service()), labtest.Paused())
	c := l.Dial()
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Client: c, Problem: "the client should be accepted, but is not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1 })
	id := c.WantOpen().ID()
	want := labtest.Pattern(1, 1000)
	c.Send(want)
	c.Close()
	l.Resume()
	c.WantClosed()
	if got := len(k.of(id)); got != len(want) {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Client: c, Suspect: "close-before-read",
			Problem: fmt.Sprintf("the %d bytes that came just before the end should reach OnData, but %d did", len(want), got)})
	}
}

// ClientsLeaveNothingBehind: clients leave; the count is 0 and the descriptors are
// back where they were.
func ClientsLeaveNothingBehind(t *testing.T, newEngine Engine) {
	l := start(t, newEngine)
	for range 2 {
		clients := l.DialMany(100)
		l.WantCount(100)
		l.CloseAll(clients)
		l.WantCount(0)
	}
	l.WantDescriptorsBack()
}

// OnCloseTellsHowItEnded: nil for the end of data, the error for a reset; and nobody
// else notices a reset.
func OnCloseTellsHowItEnded(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithHandler(service{}))
	polite, rude, bystander := l.Dial(), l.Dial(), l.Dial()
	for _, c := range []*labtest.Client{polite, rude, bystander} {
		c.WantOpen()
	}
	polite.Close()
	if err := polite.WantClosed(); err != nil {
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: polite, Suspect: "end-reported-as-error",
			Problem: fmt.Sprintf("OnClose should get nil when the client closes in order, but got %q", err)})
	}
	rude.Reset()
	if err := rude.WantClosed(); !labtest.IsReset(err) {
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: rude, Suspect: "reset-not-reported",
			Problem: fmt.Sprintf("OnClose should get the reset (ECONNRESET) when the client resets, but got %v", err)})
	}
	bystander.Send([]byte("still here"))
	l.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: bystander, Problem: "a third client should not notice, but its bytes do not arrive"},
		func(engine.Engine) bool { return bystander.Received() == 10 })
}

// AnEmptyReadIsNoError: a connection is reported readable, and when the engine comes to
// read it there is nothing (EAGAIN). Here another connection's handler has taken the
// bytes away; in the field it is a packet with a wrong checksum.
func AnEmptyReadIsNoError(t *testing.T, newEngine Engine) {
	var l *labtest.Lab
	var clients []*labtest.Client
	stolen := false
	l = start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{data: func(c engine.Conn, _ []byte) {
		for _, other := range clients {
			if !stolen && other.Local() != c.RemoteAddr() {
				stolen = labtest.Steal(other.ServerFD())
			}
		}
	}}))
	l.Did("in OnData the handler takes away what has arrived for the other client")
	clients = l.DialMany(2)
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "2 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 2 })
	for _, c := range clients {
		c.Send([]byte("x"))
		c.WaitDelivered()
	}
	l.Did("one turn, in which both are ready; the handler of the first takes away the other's byte")
	l.TurnsUntil(labtest.Failure{Symptom: labtest.NoData, Problem: "OnData should be called, but is not"},
		func(engine.Engine) bool { return clients[0].Received()+clients[1].Received() > 0 })
	l.Turn(0)
	for _, c := range clients {
		if c.IsClosed() {
			l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c, Problem: fmt.Sprintf("a read that finds nothing should not end the connection, but that of %s was closed", c.Name)})
		}
	}
}

// SurvivesClientsThatLeaveBeforeAccept: they are gone when their turn comes, and the
// next one is served.
func SurvivesClientsThatLeaveBeforeAccept(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused(), labtest.WithHandler(service{}))
	for i, c := range l.DialMany(20) {
		if i%2 == 0 {
			c.Reset()
		} else {
			c.Close()
		}
	}
	c := l.Dial()
	l.Resume()
	c.WantOpen()
	c.Send([]byte("hello"))
	l.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: c, Problem: "the client that stayed should be served, but its bytes do not arrive"},
		func(engine.Engine) bool { return c.Received() == 5 })
	l.WantCount(1)
}

// EchoesWholeAndInOrder: what goes in comes out, for messages of all sizes and for
// clients that talk at the same time.
func EchoesWholeAndInOrder(t *testing.T, newEngine Engine) {
	l := start(t, newEngine)
	a, b := l.Dial(), l.Dial()
	for i, n := range []int{1, 64, 1000, 64 << 10} {
		a.Send(labtest.Pattern(i, n))
		b.Send(labtest.Pattern(i+10, n))
		b.Want(labtest.Pattern(i+10, n))
		a.Want(labtest.Pattern(i, n))
	}
	// A completion engine hears of what it has sent a little later than the client.
	want := uint64(2 * (1 + 64 + 1000 + 64<<10))
	l.Eventually(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
		Problem: fmt.Sprintf("Stats should show %d bytes in and out, but do not", want)},
		func(e engine.Engine) bool { s := e.Stats(); return s.BytesIn == want && s.BytesOut == want })
}

// ALateReaderLosesNothing: a client sends 8 MiB and reads only then; the kernel
// takes a part of the answer, the engine has to keep the rest.
func ALateReaderLosesNothing(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	c := l.DialSmall()
	data := labtest.Pattern(1, 8<<20)
	c.SendInBackground(data)
	c.WaitStalled()
	c.Want(data)
	c.WaitSent()
	c.Echo([]byte("and on it goes"))
	if s := l.Stats(); s.ShortWrites == 0 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats", Problem: "Stats should count the short writes that this needed, but shows none"})
	}
}

// AnswersStayInOrder: a client sends and reads at the same time, and the server's send
// buffer is full again and again: bytes are queued, sent later, and new ones come
// meanwhile.
func AnswersStayInOrder(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	c := l.DialSmall()
	data := labtest.Pattern(6, 16<<20)
	c.SendInBackground(data)
	c.Want(data)
	c.WaitSent()
}

// IsIdleAfterALateReader: once the queue is empty, nothing keeps the loop busy.
func IsIdleAfterALateReader(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	c := l.DialSmall()
	data := labtest.Pattern(2, 8<<20)
	c.SendInBackground(data)
	c.WaitStalled()
	c.Want(data)
	c.WaitSent()
	l.WantIdle()
}

// ManyIdleConnectionsCostNothing: n clients, each served once, then silent.
func ManyIdleConnectionsCostNothing(t *testing.T, newEngine Engine, n int) {
	l := start(t, newEngine)
	crowd := l.Crowd(n)
	l.WantCount(n)
	crowd.Echo(64)
	l.WantIdle()
	crowd.Echo(64)
	crowd.Leave()
	l.WantCount(0)
	l.WantDescriptorsBack()
}

// HalfCloseGetsItsAnswer: a client sends, ends its output, and reads: everything
// comes back, and then the end of data.
func HalfCloseGetsItsAnswer(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	for _, n := range []int{64, 8 << 20} {
		c := l.DialSmall()
		data := labtest.Pattern(n, n)
		c.SendInBackground(data)
		c.CloseWriteWhenSent()
		if n > 1<<20 {
			c.WaitStalled()
			l.Eventually(labtest.Failure{Symptom: labtest.SendStalls, Client: c, Problem: "all bytes should be read while their echo is queued, but are not"},
				func(engine.Engine) bool { return c.Received() == int64(n) })
			c.WaitDelivered()
			l.SuspectNext(rdhupWhilePaused, labtest.Rule{ID: "end-read-again", For: []labtest.Symptom{labtest.Busy}})
			l.WantIdle()
			l.SuspectNext()
		}
		c.Want(data)
		c.WantEOF()
		if err := c.WantClosed(); err != nil {
			l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c, Suspect: "end-reported-as-error",
				Problem: fmt.Sprintf("OnClose should get nil after a half-close, but got %q", err)})
		}
	}
}

// AResetWhileWritingHurtsNobody: clients reset while the server has much to send
// them; they are closed with the error, the others go on.
func AResetWhileWritingHurtsNobody(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.WithConfig(engine.Config{HighWater: 64 << 20}))
	if labtest.UnderWine() {
		l.Unavailable("Wine tells a reset once, to whoever asks first, and a send that is in flight then may never complete")
	}
	bystander := l.Dial()
	bystander.Echo([]byte("before"))
	for i := range 12 { // whether a read or a write is told of the reset is chance
		c := l.DialSmall()
		c.WantOpen() // one that resets before that need never be heard of
		c.SendInBackground(labtest.Pattern(i, 8<<20))
		c.WaitMoving(1 << 20)
		c.Reset()
		if err := c.WantClosed(); err == nil {
			l.Fail(labtest.Failure{Symptom: labtest.WrongCloseError, Client: c, Suspect: "reset-not-reported",
				Problem: "OnClose should get the error of a client that reset, but got nil"})
		}
		bystander.Echo([]byte("still here"))
	}
	l.WantCount(1)
}

// AFullSendBufferIsNoError: when the engine comes to write there is no room at all
// (EAGAIN), not even for a part. Here the handler has filled the buffer behind the
// engine's back; in the field it is memory that the kernel is short of.
func AFullSendBufferIsNoError(t *testing.T, newEngine Engine) {
	var c *labtest.Client
	stuffed := -1
	l := start(t, newEngine, labtest.WithHandler(service{data: func(conn engine.Conn, data []byte) {
		if stuffed < 0 {
			stuffed = labtest.Stuff(c.ServerFD())
		}
		conn.Send(data)
	}}))
	c = l.DialSmall()
	c.WantOpen()
	l.Did("the handler fills the send buffer, then sends: there is no room for a single byte")
	c.Send([]byte("answer"))
	l.Eventually(labtest.Failure{Symptom: labtest.NoData, Client: c, Problem: "OnData should be called, but is not"},
		func(engine.Engine) bool { return c.Received() == 6 })
	if c.IsClosed() {
		l.Fail(labtest.Failure{Symptom: labtest.EarlyReset, Client: c, Problem: "a write that finds no room should not end the connection, but it was closed"})
	}
	l.WantIdle() // also while there is still no room
	c.Want(append(make([]byte, stuffed), "answer"...))
}

// CallsAreCounted: Stats.Calls shows at least one of each of transfers for each message
// of a client that sends one after the other, and some of wait: one wait may do for
// several, in an engine that looks again before it waits.
func CallsAreCounted(t *testing.T, newEngine Engine, wait engine.Call, transfers ...engine.Call) {
	const messages = 100
	l := start(t, newEngine)
	c := l.Dial()
	before := l.Stats()
	l.Did("%d messages, each read back before the next", messages)
	for range messages {
		c.EchoQuietly([]byte("message"))
	}
	after := l.Stats()
	atLeast := func(least uint64, call engine.Call) {
		if n := after.Calls[call] - before.Calls[call]; n < least {
			l.Got("Stats.Calls shows %d of %v", n, call)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "wrong-stats",
				Problem: fmt.Sprintf("Stats.Calls should count each system call, and %d messages take %d of %v at least, but it shows %d", messages, least, call, n)})
		}
	}
	for _, call := range transfers {
		atLeast(messages, call)
	}
	atLeast(1, wait)
}

// ManyReadyConnectionsNeedFewWaits: a thousand clients that are ready at once are
// reported in four waits or fewer, once the engine has seen that it needs the room.
func ManyReadyConnectionsNeedFewWaits(t *testing.T, newEngine Engine) {
	l := start(t, newEngine, labtest.Paused())
	clients := l.DialMany(1000)
	l.TurnsUntil(labtest.Failure{Symptom: labtest.CountLow, Problem: "1000 clients should be accepted, but are not"},
		func(e engine.Engine) bool { return e.ConnectionCount() == 1000 })
	l.Did("four times: each sends a byte, and when all have come, turns are made until all are read")
	var turns int
	for round := range uint64(4) {
		for _, c := range clients {
			c.SendQuietly([]byte("x"))
		}
		for _, c := range clients {
			c.WaitDelivered()
		}
		turns = 0
		l.TurnsUntil(labtest.Failure{Symptom: labtest.SendStalls, Problem: "the bytes of 1000 clients should be read, but are not"},
			func(e engine.Engine) bool { turns++; return e.Stats().BytesIn == 1000*(round+1) })
	}
	if turns > 4 {
		l.Got("%d turns in the last round", turns)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "event-list-too-short",
			Problem: fmt.Sprintf("an event list that grows should report 1000 ready connections in 4 waits or fewer, but it took %d", turns)})
	}
}
