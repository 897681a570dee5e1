package labtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"iolab/checker/probe"
	"iolab/checker/report"
	"iolab/lessons/05-iocp/iocp"
	"iolab/lessons/engine"
)

// Rule is a likely mistake and the evidence that points to it. Rules are tried in
// order and the first that fits is reported, so the special ones come before the
// general.
type Rule struct {
	ID   string // of a cause in the table
	For  []Symptom
	When func(s *Scene) bool // nil: the symptom is enough
}

func (r Rule) fits(s *Scene) bool {
	return (len(r.For) == 0 || slices.Contains(r.For, s.Symptom)) && (r.When == nil || r.When(s))
}

// cause is the first rule's that fits, those of the test before the general ones.
func (s *Scene) cause() *report.Cause {
	if s.Suspect != "" {
		return causeByID(s.Suspect)
	}
	for _, list := range [][]Rule{s.Suspects, rules} {
		for _, r := range list {
			if r.fits(s) {
				return causeByID(r.ID)
			}
		}
	}
	if s.Symptom == Panics {
		return s.panicCause()
	}
	return nil
}

func causeByID(id string) *report.Cause {
	c, ok := causes[id]
	if !ok {
		panic(fmt.Sprintf("labtest: no cause %q in the table", id))
	}
	return &report.Cause{ID: id, Text: c.text, Read: here.place(c.read)}
}

// belongs is where in the stream the wrong bytes should have come, or did come: an
// offset near the wrong one if there are several, negative for those that the client
// had read before. ok is false if they are none of its bytes.
func (s *Scene) belongs() (offset int64, ok bool) {
	const sample = 16 // no two places of a Pattern are that long alike
	wrong := s.Got[min(int(s.Offset), len(s.Got)):]
	if len(wrong) < sample || s.Client == nil {
		return 0, false
	}
	stream := slices.Concat(s.Client.seen, s.Want)
	at := bytes.Index(stream, wrong[:sample])
	return int64(at - len(s.Client.seen)), at >= 0
}

// again tells whether the wrong bytes had come before.
func (s *Scene) again() bool {
	at, ok := s.belongs()
	return ok && at < s.Offset
}

// halfOpen: the client's connection had its OnOpen and not its OnClose.
func (s *Scene) halfOpen() bool { return s.Known && !s.Gone }

// unbound tells whether fd is a TCP socket that never got to bind.
func unbound(fd probe.FD) bool {
	return fd.Kind == "tcp" && fd.State == "CLOSE" && !fd.Remote.IsValid() && fd.Local.Port() == 0
}

// rules are the mistakes that can be told from the evidence alone, whichever test
// met them.
var rules = []Rule{
	// What the engine says of its connections.
	{"wrong-remote-addr", []Symptom{CountLow, NoOnClose, NoData, SendStalls}, func(s *Scene) bool {
		return s.Client != nil && !s.Known && len(s.Strangers) > 0
	}},
	{"connections-not-counted", []Symptom{CountLow}, func(s *Scene) bool { return s.Answers && s.Open > s.Count }},
	{"refused-not-closed", []Symptom{NoEOF, NoOnClose}, func(s *Scene) bool {
		return s.Answers && s.Stats.Refused > 0 && s.HasFD && !s.Known
	}},
	{"connection-error-ignored", []Symptom{NoOnClose, NoData}, func(s *Scene) bool { return s.WasReset && s.halfOpen() && s.Answers }},

	// The loop is stuck or dead.
	{"blocking-listener", []Symptom{PollBlocks, CallBlocks, NoData, CountLow, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.In("Accept", "Accept4", "accept") && s.Listening && !s.Listener.NonBlocking && !s.Answers && s.CPU < 0.5
	}},
	{"blocking-socket", []Symptom{PollBlocks, CallBlocks, NoData, CountLow, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.In("Read", "Write", "Accept", "Accept4", "accept", "transfer", "read", "write") && !s.Answers && s.CPU < 0.5
	}},
	{"loop-inside-poll", []Symptom{PollBlocks, CallBlocks, NoData, CountLow, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return !s.Answers && s.CPU > 0.5
	}},
	{"loop-not-asked", []Symptom{CallBlocks}, func(s *Scene) bool {
		return s.In("(*Loops).Stats", "(*Loops).Shutdown", "(*Loops).Close") && s.CPU < 0.5
	}},
	{"wait-ignores-timeout", []Symptom{PollBlocks, CallBlocks}, func(s *Scene) bool {
		return s.In("EpollWait", "Select", "Kevent", "Enter", "GetQueuedCompletionStatusEx", "GetQueuedCompletionStatus") && s.CPU < 0.5
	}},
	{"eintr-ends-the-loop", []Symptom{PollFails}, func(s *Scene) bool { return errors.Is(s.Err, syscall.EINTR) }},
	{"closed-fd-in-set", []Symptom{PollFails}, func(s *Scene) bool {
		return errors.Is(s.Err, syscall.EBADF)
	}},
	{"closed-fd-in-set", []Symptom{EarlyEOF, EarlyReset, NoEOF, NoData, WrongCloseError}, func(s *Scene) bool {
		return errors.Is(s.ShutdownErr, syscall.EBADF) || errors.Is(s.CloseErr, syscall.EBADF)
	}},
	{"out-of-descriptors-ends-the-loop", []Symptom{PollFails}, func(s *Scene) bool {
		return errors.Is(s.Err, syscall.EMFILE) || errors.Is(s.Err, syscall.ENFILE)
	}},
	{"timeout-taken-for-error", []Symptom{PollFails}, func(s *Scene) bool { return errors.Is(s.Err, iocp.WAIT_TIMEOUT) }},
	{"eagain-ends-the-loop", []Symptom{PollFails}, func(s *Scene) bool { return errors.Is(s.Err, syscall.EAGAIN) }},
	{"recv-armed-twice", []Symptom{PollFails, CloseFails}, func(s *Scene) bool {
		return s.HasRing && s.Answers && s.Ring.Waiting["recv"] > int(s.Stats.Accepts)
	}},
	{"accept-armed-twice", []Symptom{PollFails, CloseFails}, func(s *Scene) bool {
		return s.HasRing && s.Answers && s.Ring.Waiting["accept"] >= max(20, int(s.Stats.Accepts))
	}},
	{"closed-in-flight", []Symptom{PollFails, CloseFails}, func(s *Scene) bool {
		return s.HasRing && s.Answers && s.Count == 0 && s.Waits("recv")
	}},
	{"connection-error-ends-the-loop", []Symptom{PollFails}, nil},
	{"operation-awaited-in-vain", []Symptom{CloseFails}, func(s *Scene) bool {
		return s.Stats.Calls[engine.CallGetQueuedCompletionStatusEx] > 0 && !isErrno(s.Err)
	}},
	{"close-fails", []Symptom{CloseFails}, nil},
	{"fd-beyond-fd_setsize", []Symptom{Panics}, func(s *Scene) bool {
		return strings.Contains(s.Stack, "FdSet")
	}},

	// Completion ports: the kernel's memory.
	{"overlapped-in-use", []Symptom{Panics}, func(s *Scene) bool { return s.Misused() == "overlapped-in-use" }},
	{"overlapped-changed", []Symptom{Panics}, func(s *Scene) bool { return s.Misused() == "overlapped-changed" }},
	{"kernel-memory-released", []Symptom{Panics}, func(s *Scene) bool {
		return s.Misused() == "overlapped-released" || s.Misused() == "buffer-released"
	}},
	{"buffer-changed", []Symptom{Panics}, func(s *Scene) bool { return s.Misused() == "buffer-changed" }},
	{"buffer-shared", []Symptom{Panics}, func(s *Scene) bool { return s.Misused() == "buffer-shared" }},
	{"port-closed-in-flight", []Symptom{Panics}, func(s *Scene) bool { return s.Misused() == "port-closed" }},

	// The wrong bytes come: where in the stream do they belong?
	{"memory-freed-in-flight", nil, func(s *Scene) bool { return errors.Is(s.CloseErr, syscall.EFAULT) }},
	{"memory-freed-in-flight", []Symptom{WrongBytes}, func(s *Scene) bool { _, ok := s.belongs(); return s.HasRing && len(s.Want) > 0 && !ok }},
	{"sends-out-of-order", []Symptom{WrongBytes}, func(s *Scene) bool { at, ok := s.belongs(); return s.HasRing && ok && at > s.Offset }},
	{"bytes-overtake", []Symptom{WrongBytes}, func(s *Scene) bool { at, ok := s.belongs(); return ok && at > s.Offset }},
	{"bytes-queued-though-taken", []Symptom{WrongBytes}, func(s *Scene) bool {
		return s.again() && s.Client.sent.Load() < smallest // the kernel took every write whole
	}},
	{"bytes-sent-twice", []Symptom{WrongBytes}, (*Scene).again},
	{"buffer-used-again", []Symptom{WrongBytes}, func(s *Scene) bool { _, ok := s.belongs(); return len(s.Want) > 0 && !ok }},

	{"pending-taken-for-error", []Symptom{EarlyEOF, EarlyReset, NoData, WrongCloseError}, func(s *Scene) bool { return errors.Is(s.CloseErr, iocp.ERROR_IO_PENDING) }},

	// Bytes do not come.
	{"shutdown-sends-no-fin", []Symptom{NoEOF}, func(s *Scene) bool {
		return s.In(").Shutdown") && s.halfOpen() && s.Sock.State == "ESTABLISHED" && s.Untold != nil
	}},
	{"fin-not-sent", []Symptom{NoEOF}, func(s *Scene) bool {
		return s.Known && !s.Gone && s.Queued == 0 && s.Sock.State == "ESTABLISHED"
	}},
	{"write-interest-never-armed", []Symptom{NoData, NoEOF, SendStalls}, func(s *Scene) bool {
		return s.Queued > 0 && s.Sock.Unsent == 0 && !s.HasPort && (!s.HasEpoll || s.Watched && !s.Armed("EPOLLOUT"))
	}},
	{"send-not-posted", []Symptom{NoData, NoEOF, SendStalls}, func(s *Scene) bool {
		return s.Queued > 0 && s.HasPort && !slices.Contains(s.Posted, "WSASend")
	}},
	{"queue-not-flushed", []Symptom{NoData, NoEOF, SendStalls}, func(s *Scene) bool {
		return s.Queued > 0 && s.Sock.Unsent == 0
	}},
	{"reading-never-resumed", []Symptom{NoData, SendStalls}, func(s *Scene) bool {
		return s.HasFD && s.Sock.Unread > 0 && s.Queued <= s.Config.LowWater &&
			(s.Stats.ShortWrites > 0 || s.HasRing && s.Stats.BytesOut > uint64(s.Config.HighWater)) &&
			(!s.HasEpoll || s.Watched && (s.Armed("EPOLLET") || !s.Armed("EPOLLIN")))
	}},
	{"buffers-not-returned", []Symptom{NoData, SendStalls}, func(s *Scene) bool {
		return s.HasRing && s.HasFD && s.Sock.Unread > 0 && (s.CPU > 0.5 || s.Turns > 1000)
	}},
	{"recv-not-rearmed", []Symptom{NoData, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.HasRing && s.HasFD && s.Sock.Unread > 0 && s.Ring.Waiting["recv"] < s.Count
	}},
	{"eof-taken-as-close", []Symptom{EarlyEOF, EarlyReset}, func(s *Scene) bool {
		return s.Known && s.Gone && s.CloseErr == nil && s.Client.ended.Load()
	}},
	{"short-write-dropped", []Symptom{NoData, WrongBytes, EarlyEOF}, func(s *Scene) bool {
		return s.Queued == 0 && s.Stats.ShortWrites > 0 && s.Stats.BytesOut < s.Stats.BytesIn
	}},
	{"short-write-dropped", []Symptom{NoData, WrongBytes}, func(s *Scene) bool {
		return s.HasFD && s.Queued == 0 && s.Sock.Unread == 0 && s.Sock.Unsent == 0 && s.Client.received.Load() > 0 &&
			s.Client.received.Load() < s.Client.sent.Load()
	}},
	{"writes-without-room", []Symptom{Busy}, func(s *Scene) bool {
		return s.Moved.Calls[engine.CallWrite] > 100 && s.Moved.BytesOut == 0 && s.Moved.EAGAINs > 100
	}},
	{"ready-list-never-empties", []Symptom{Busy}, func(s *Scene) bool {
		return s.AnyArmed("EPOLLET", "EPOLLONESHOT") && s.Stats.Calls[engine.CallEpollWait] > 100+20*s.Stats.Wakeups
	}},
	{"not-in-the-interest-list", []Symptom{NoData, SendStalls, NoOnClose}, func(s *Scene) bool {
		return s.HasEpoll && s.HasFD && !s.Watched
	}},
	{"knote-not-enabled", []Symptom{NoData, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.Stats.Calls[engine.CallKevent] > 0 && s.HasFD && s.Sock.Unread > 0 && s.Queued <= s.Config.HighWater && s.Watched && !s.Armed("EPOLLIN")
	}},
	{"edge-not-drained", []Symptom{NoData, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.HasFD && s.Sock.Unread > 0 && s.Watched && s.Armed("EPOLLET") && s.Armed("EPOLLIN")
	}},
	{"receive-not-posted", []Symptom{NoData, SendStalls, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.HasPort && s.HasFD && !slices.Contains(s.Posted, "WSARecv") && (s.Sock.Unread > 0 || s.Sock.State == "CLOSE_WAIT" || s.Sock.State == "CLOSE") &&
			s.Queued <= s.Config.HighWater
	}},
	{"input-not-read", []Symptom{NoData, SendStalls, NoOnClose}, func(s *Scene) bool {
		return s.HasFD && s.Sock.Unread > 0
	}},

	// Accepting.
	{"listener-not-watched", []Symptom{CountLow, NoData}, func(s *Scene) bool {
		return s.Listening && s.Listener.AcceptQueue > 0 && s.HasEpoll && (!s.ListenIn || !hasEvent(s.ListenInt, "EPOLLIN"))
	}},
	{"burst-not-accepted", []Symptom{CountLow, NoData}, func(s *Scene) bool {
		return s.Listening && s.Listener.AcceptQueue > 0 && s.ListenIn && hasEvent(s.ListenInt, "EPOLLET")
	}},
	{"accept-not-rearmed", []Symptom{CountLow, NoData}, func(s *Scene) bool {
		return s.Listening && s.Listener.AcceptQueue > 0 && s.HasRing && !s.Waits("accept")
	}},
	{"accept-waits-for-data", []Symptom{CountLow, NoData}, func(s *Scene) bool { return s.AcceptsWaiting > 0 }},
	{"accept-not-posted", []Symptom{CountLow, NoData}, func(s *Scene) bool {
		return s.HasPort && s.Listening && s.Listener.AcceptQueue > 0 && s.AcceptsPosted == 0
	}},
	{"accept-queue-not-drained", []Symptom{CountLow, NoData}, func(s *Scene) bool {
		return s.Listening && s.Listener.AcceptQueue > 0
	}},

	// Closing.
	{"closed-in-flight", []Symptom{NoEOF}, func(s *Scene) bool { return s.HasRing && s.Gone && !s.HasFD }},
	{"eagain-taken-for-error", []Symptom{SendStalls, NoData, WrongCloseError, EarlyEOF, EarlyReset}, func(s *Scene) bool { return errors.Is(s.CloseErr, syscall.EAGAIN) }},
	{"short-read-hides-the-end", []Symptom{NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.HasFD && s.Sock.State == "CLOSE_WAIT" && s.Sock.Unread == 0 && !s.Gone && s.Armed("EPOLLET") && s.Client.Received() > 0
	}},
	{"accept-context-missing", []Symptom{WrongCloseError, EarlyEOF, EarlyReset, NoEOF, WrongResult}, (*Scene).NotConnected},
	{"end-of-data-not-seen", []Symptom{CountHigh, NoOnClose, NoEOF}, func(s *Scene) bool {
		return s.HasFD && s.Sock.State == "CLOSE_WAIT" && !s.Gone
	}},
	{"failed-new-leaks", []Symptom{DescriptorsLeak}, func(s *Scene) bool { return slices.ContainsFunc(s.Leaked, unbound) }},
	{"descriptor-not-closed", []Symptom{DescriptorsLeak}, func(s *Scene) bool {
		return slices.ContainsFunc(s.Leaked, func(fd probe.FD) bool { return fd.Kind == "tcp" })
	}},
	{"engine-descriptor-not-closed", []Symptom{DescriptorsLeak}, nil},
	{"count-never-lowered", []Symptom{CountHigh}, func(s *Scene) bool { return s.Stats.Connections != s.Count || s.Client == nil }},

	// Busy.
	{"registration-outlives-close", []Symptom{Busy}, func(s *Scene) bool {
		for _, i := range s.Epoll {
			if i.Ghost {
				return true
			}
		}
		return false
	}},
	{"emfile-spins", []Symptom{Busy}, func(s *Scene) bool {
		return s.Listening && s.Listener.AcceptQueue > 0
	}},
	{"timer-not-read", []Symptom{Busy}, func(s *Scene) bool {
		return slices.ContainsFunc(s.Ready, func(fd probe.FD) bool { return fd.Kind == "timerfd" })
	}},
	{"wake-not-read", []Symptom{Busy}, func(s *Scene) bool { return len(s.Ready) > 0 }},
	{"read-interest-left-armed", []Symptom{Busy}, func(s *Scene) bool {
		return s.HasFD && s.halfOpen() && (s.Sock.Unread > 0 || s.Sock.State == "CLOSE_WAIT") &&
			(!s.HasEpoll || s.Armed("EPOLLIN") || s.Armed("EPOLLRDHUP"))
	}},
	{"wait-ignores-timeout", []Symptom{Busy}, func(s *Scene) bool {
		return s.Answers && s.Open == 0 && s.Moved.Wakeups == 0 // nothing can have been ready
	}},
	{"write-interest-left-armed", []Symptom{Busy}, func(s *Scene) bool {
		if !s.HasEpoll {
			return s.Stats.Calls[engine.CallSelect] > 0
		}
		for _, i := range s.Epoll {
			if hasEvent(i, "EPOLLOUT") && !hasEvent(i, "EPOLLET") {
				return true
			}
		}
		return false
	}},
	{"wakeup-not-cleared", []Symptom{Busy}, nil},

	// The connection ended in time, with another error than the contract names.
	{"wrong-close-error", []Symptom{WrongCloseError}, nil},
}

// isErrno tells whether err is a system's, and not the engine's own word.
func isErrno(err error) bool {
	var unix syscall.Errno
	var winsock iocp.Errno
	return errors.As(err, &unix) || errors.As(err, &winsock)
}

// smallest is what the kernel's send buffer takes at once on any system.
const smallest = 4 << 10

type cause struct {
	text string
	read string // alternatives, see location.place
}

// causes are the mistakes that reports name. Mutants refer to them by ID.
var causes = map[string]cause{
	"blocking-socket": {
		"A connection's descriptor is in blocking mode: a read or write on it can hold the loop up, and one quiet client then stops all. Every descriptor has to be non-blocking; accept4 with SOCK_NONBLOCK makes it so in the same call.",
		"accept4(2), SOCK_NONBLOCK"},
	"blocking-listener": {
		"The listener is in blocking mode. A client that leaves before it is accepted takes its readiness with it, and accept then waits for the next one, with the whole loop. Make it non-blocking when it is made.",
		"01: SetNonblock in lessons/01-select/sys/sys_unix.go | socket(2), SOCK_NONBLOCK"},
	"failed-new-leaks": {
		"A New that failed left a descriptor open. Keep each in the engine the moment it is open (the socket in e.listener before bind, not after listen), so that the Close which follows an error finds it.",
		"Step \"The listener\" | Step \"The interest list\" | Step \"Edges\" | Engine.Close in lessons/engine"},
	"poll-after-close": {
		"Poll was called after Close, and asked the kernel about descriptors that are closed (their numbers may be somebody else's by now). It has to look first whether the engine is closed, and return ErrClosed.",
		"Engine.Poll in lessons/engine"},
	"wrong-remote-addr": {
		"A connection was opened whose RemoteAddr is not its client's address: give the address that accept returned to the connection's identity.",
		"NewIdentity in lessons/engine/identity.go; accept(2)"},
	"connections-not-counted": {
		"OnOpen was called for a connection, and ConnectionCount does not count it: raise the count before OnOpen, and lower it with OnClose.",
		"Engine.ConnectionCount in lessons/engine"},
	"refused-not-closed": {
		"The connection was counted as refused, and its descriptor is still open: the client waits for ever, and the descriptors run out. Close it.",
		"Config.MaxConnections in lessons/engine"},
	"connection-error-ignored": {
		"The client has reset its connection, and nothing ends it here: the error that read or write gives for it (ECONNRESET, EPIPE) is ignored, and the call made again each turn. Every error but EAGAIN and EINTR ends the connection and goes to OnClose.",
		"write(2), ERRORS; Handler.OnClose in lessons/engine"},
	"close-does-nothing": {
		"The handler called Close, and the connection is still open. Close has to note it, so that at the end of the turn the descriptor is closed and OnClose called.",
		"Conn.Close in lessons/engine"},
	"close-between-turns": {
		"A connection was closed between two turns, and its OnClose waits until something else happens: while a closed connection has not had its OnClose, Poll must not wait.",
		"\"A connection's life\" in lessons/engine"},
	"wrong-close-error": {
		"The connection ended at the right time, and its OnClose got another error than the contract names: ErrIdleTimeout when it was idle, ErrShutdown when Shutdown's time was over, ErrClosed from the engine's Close, nil from the connection's own.",
		"ErrClosed in lessons/engine"},
	"bytes-queued-though-taken": {
		"Bytes came again that had come before, though the kernel took every write whole: Send queues what it has just written. Only what the kernel did not take goes into the queue (p = p[n:]).",
		"write(2), RETURN VALUE"},
	"shutdown-sends-no-fin": {
		"Shutdown waits for the clients to close, and has not told this one: end every connection's output (CloseWrite), also where nothing is queued.",
		"Engine.Shutdown in lessons/engine"},
	"wake-not-read": {
		"The wake descriptor has something to be read, and nobody reads it: every wait returns at once. Read it when it is reported.",
		"Step \"Wake and shutdown\" | Engine.Wake in lessons/engine"},
	"timer-not-read": {
		"A timerfd has fired, and nobody reads it: it stays readable, and every wait returns at once. Read it when it is reported, also when nothing turns out to be due.",
		"timerfd_create(2), read(2)"},
	"wake-after-close": {
		"Wake wrote to a descriptor after the engine had closed it, and the number was somebody else's by then. Close sets it to -1, Wake looks, and both do so under one lock, since Wake may come from any goroutine.",
		"Engine.Wake in lessons/engine"},
	"used-after-close": {
		"The engine used a descriptor's number after it had closed it, and the number was somebody else's by then: the kernel gives out the lowest that is free. Close each once, and set what holds the number to -1 with it.",
		"close(2), NOTES; Engine.Close in lessons/engine"},
	"old-conn-hits-newcomer": {
		"A connection that is closed was used by its handler, and that reached the one that has its place now: its descriptor or slot was looked up without asking whose it is. A closed connection has to know that it is closed, or a generation has to say that the place was given out again.",
		"Conn.ID in lessons/engine"},
	"read-interest-left-armed": {
		"A connection has something to be read, is not read from, and is still asked about: every wait returns at once. While it is paused, take it out of what you ask for.",
		"Step \"Backpressure\" | Conn.Send in lessons/engine"},
	"loop-inside-poll": {
		"The loop spins inside a single Poll: a for loop in there has no end. Poll makes one turn, and returns.",
		"Engine.Poll in lessons/engine"},
	"wait-ignores-timeout": {
		"The wait call does not get the timeout that Poll was given (a negative one means for ever).",
		"Engine.Poll in lessons/engine"},
	"eintr-ends-the-loop": {
		"A signal interrupted the wait (EINTR) and Poll returned that as an error. Go's scheduler sends signals all the time: take EINTR for \"nothing happened\".",
		"signal(7), \"Interruption of system calls\""},
	"eagain-ends-the-loop": {
		"EAGAIN is not an error: the kernel has nothing for you right now. Note it and go on.",
		"read(2), accept(2)"},
	"connection-error-ends-the-loop": {
		"The error of one connection came out of Poll. It concerns that connection alone: close it, give the error to OnClose, and go on.",
		"Engine.Poll in lessons/engine"},
	"out-of-descriptors-ends-the-loop": {
		"accept found no free descriptor (EMFILE) and the whole loop ended. The connections there are can be served all the same: stop accepting until a descriptor comes free.",
		"accept(2), EMFILE"},
	"closed-fd-in-set": {
		"A descriptor was closed and is still asked about (EBADF). One such descriptor in an fd_set, and select fails for all: take it out of the sets before you close it.",
		"select(2), EBADF"},
	"fd-beyond-fd_setsize": {
		"A descriptor of 1024 (FD_SETSIZE) or more was put into an fd_set, which has no room for it. C would overwrite other memory without a word. Check before, and refuse the connection.",
		"select(2), FD_SETSIZE"},
	"fd-set-consumed": {
		"select leaves only the ready descriptors in the sets it is given. What it was given is gone after the first turn: hand it a copy each time.",
		"select(2), \"modified in place\""},
	"nfds-off-by-one": {
		"The highest descriptor is never reported: nfds is the highest descriptor plus one, not the highest.",
		"select(2), nfds"},
	"timeout-rounded-down": {
		"The timeout is rounded down to what the wait call can express, at the end to 0: the wait does not wait, and the loop turns busy. Round up.",
		"01: select(2), timeout | 02,03: epoll_wait(2), timeout | Engine.Poll in lessons/engine"},
	"write-interest-never-armed": {
		"The engine has bytes queued, the socket has room, and nobody asks the kernel for writability: after a short write, ask for it (EPOLLOUT, the write set) and send the rest when it comes.",
		"Step \"Writing\" | write(2), RETURN VALUE"},
	"queue-not-flushed": {
		"The engine has bytes queued and the socket has room, but the queue is not sent when the kernel reports the socket writable.",
		"Step \"Writing\" | write(2), RETURN VALUE"},
	"write-interest-left-armed": {
		"A socket that has room is writable all the time: write interest that stays on with nothing queued makes every wait return at once. Ask for writability only while something is queued.",
		"Step \"Writing\" | write(2), RETURN VALUE"},
	"short-write-dropped": {
		"write took only a part (a short write) or nothing (EAGAIN), and the rest was dropped: less went out than came in, and nothing is queued. Queue what the kernel did not take.",
		"write(2), RETURN VALUE"},
	"bytes-overtake": {
		"Later bytes came before earlier ones: something was handed to the kernel while older bytes were still in the connection's queue. Send may write at once only if the queue is empty; otherwise what it is given goes to the end of the queue, which is sent from its beginning.",
		"Step \"Writing\" | write(2), RETURN VALUE"},
	"bytes-sent-twice": {
		"Bytes came that had come before: what the kernel took was not taken off. In Send queue what is left, p[n:]; when the queue is sent, discard n.",
		"write(2), RETURN VALUE"},
	"buffer-used-again": {
		"Bytes came that nobody sent here: most likely a buffer was used again while it was still queued. What Send is given is its caller's again when Send returns, so what is queued has to be a copy.",
		"Conn.Send, Handler.OnData in lessons/engine"},
	"more-than-was-read": {
		"OnData got more than was read: hand on the part of the buffer that the read filled, buf[:n].",
		"read(2), RETURN VALUE"},
	"fin-not-sent": {
		"Everything is sent, and the end of data was never sent after it: CloseWrite with a queue that is not empty leaves the FIN to the write that empties it, one with an empty queue sends it at once.",
		"Conn.CloseWrite in lessons/engine"},
	"eagain-taken-for-error": {
		"A connection was closed because a read or write found nothing to do (EAGAIN). Readiness is a hint: the bytes may be gone when you come for them. Note it and go on.",
		"select(2), BUGS; read(2), EAGAIN"},
	"callback-on-another-goroutine": {
		"The handler was called from a goroutine of its own. Handlers have no locks: all their callbacks come from the loop, one after the other.",
		"\"One loop, one goroutine\" in lessons/engine"},
	"reading-never-resumed": {
		"Reading stopped at the high-water mark and did not go on when the queue had drained: bytes wait in the receive queue, and nobody asks for them. (Edge-triggered, those that came meanwhile have had their edge.)",
		"Conn.Send in lessons/engine"},
	"no-backpressure": {
		"The engine goes on reading from a client that does not read its answers, and its queue grows. Past the high-water mark, stop reading from that connection until the queue has drained to the low-water mark.",
		"Conn.Send in lessons/engine"},
	"low-water-ignored": {
		"Reading went on as soon as the queue was below the high-water mark. It should stay off until the queue has drained to the low-water mark, or it flips at every write.",
		"Conn.Send in lessons/engine"},
	"end-read-again": {
		"The peer has ended its output, and the engine goes on asking for that socket's readability while it still has to send: the end of data stays readable for ever. After a read of 0, do not ask again.",
		"read(2), RETURN VALUE"},
	"no-limit-taken-for-none": {
		"A negative timeout means to wait without limit; here it became a wait of none, and a server that has nothing to do uses a whole processor.",
		"Engine.Poll in lessons/engine"},
	"timeout-overflows": {
		"The longest timeout there is (math.MaxInt64 ns, which many write for \"for ever\") became none, or an error: rounded up it overflows, or its milliseconds do not fit a C int. Make it smaller first; Poll may return early.",
		"Engine.Poll in lessons/engine"},
	"shutdown-spins": {
		"Shutdown waits for the last clients and does not let the loop sleep: something that it has closed or given up is still on the loop's list of things to do (the listener, as somebody who may be accepted from).",
		"Engine.Shutdown in lessons/engine"},
	"ready-list-never-empties": {
		"The loop never waits, though no event comes: something stays on its own list of things to do, and nothing is done about it. What a connection is listed for has to end: a read that finds nothing (EAGAIN) clears readable, and one that may not be read is not listed.",
		"Step \"Edges\" | epoll(7)"},
	"answer-refused-in-silence": {
		"The answer of the work is longer than Config.HardLimit allows, so Send refused it, and nobody looked at the error: the client waits for an answer that will not come. Where an answer cannot be sent, the connection ends with the error.",
		"Offloader in lessons/03-epoll-et/offload.go"},
	"onclose-a-turn-late": {
		"A connection that its handler had closed was still there when Poll returned: what the turn's callbacks have closed is ended before the callbacks of that turn are all made, or only in the next turn. End it last, after the last callback that can close anything.",
		"\"A connection's life\" in lessons/engine"},
	"idle-alarm-in-the-past": {
		"After an idle connection was closed the loop does not wait any more: the time at which it wants to look for the next is over, and stays so. Each look has to set a later time, and a connection that is gone must not be waited for.",
		"Config.IdleTimeout in lessons/engine"},
	"writes-without-room": {
		"The loop calls write again and again, and the kernel takes nothing. A write that finds no room (EAGAIN) is over: note that there is no room, and write again when the kernel reports the socket writable.",
		"Step \"Writing\" | write(2), ERRORS"},
	"idle-beside-work": {
		"A connection whose work was under way was closed as idle. The client waits for its answer; the time counts from when the work is done.",
		"Offloader in the lesson"},
	"away-for-ever": {
		"The work of a connection was done long ago, it has not moved a byte since, and the idle timeout did not end it: only work that is still under way is an excuse.",
		"Offloader in the lesson"},
	"rearmed-by-half": {
		"After its work the connection was armed again with less than before, and what is missing is never heard of again: EPOLL_CTL_MOD replaces the whole interest, EPOLLET included.",
		"epoll_ctl(2), EPOLL_CTL_MOD"},
	"shutdown-serves-on": {
		"Data that came after Shutdown had begun was handed to OnData. Read it, so that the peer can come to its end, and drop it.",
		"Engine.Shutdown in lessons/engine"},
	"shutdown-does-not-wait": {
		"Shutdown closed a connection whose peer had not closed yet. What the peer sends then is answered by a reset, and a reset can destroy the last answer on its way. After the end of data (FIN) wait for the peer's.",
		"Engine.Shutdown in lessons/engine"},
	"shutdown-leaves-paused": {
		"A connection that was paused for backpressure is not read from in Shutdown: it stays paused, or nobody comes back to it. Its client cannot send the rest, and so never comes to read. What is discarded needs no queue: read on.",
		"Engine.Shutdown in lessons/engine"},
	"hard-limit-ignored": {
		"Send took more than Config.HardLimit allows. It has to return ErrBackpressure then, and keep nothing of that message.",
		"Conn.Send in lessons/engine"},
	"backpressure-keeps-a-part": {
		"Send returned ErrBackpressure, yet a part of that message was sent or queued. The peer then sees half a message. Check the limit before the first byte goes out.",
		"Conn.Send in lessons/engine"},
	"rdhup-while-paused": {
		"The peer has ended its output, and EPOLLRDHUP is still in the interest of a connection that is not being read: level-triggered, it is reported for ever. It goes with EPOLLIN, on and off.",
		"epoll_ctl(2), EPOLLRDHUP"},
	"read-budget-ignored": {
		"One client that floods is read until it has nothing left, while all others wait. Read at most Config.ReadBudget from a connection, then turn to the next.",
		"Config.ReadBudget in lessons/engine"},
	"not-in-the-interest-list": {
		"The kernel is not watching this connection's descriptor: it never got into the interest list (EPOLL_CTL_ADD; a change with EV_ADD), or was taken out too early.",
		"04: kevent(2), EV_ADD | epoll_ctl(2)"},
	"edge-not-drained": {
		"The client's bytes wait in the server's receive queue, and the kernel waits for the next edge: this one was reported and is used up (EPOLLET, EV_CLEAR). Read until EAGAIN; or, if you stop before that (a budget, a full read), remember the connection and come back to it without waiting.",
		"04: kevent(2), EV_CLEAR | epoll(7), \"Level-triggered and edge-triggered\""},
	"burst-not-accepted": {
		"Clients wait in the accept queue, and the kernel waits for the next edge: a burst of connects is one edge (EPOLLET, EV_CLEAR). Accept until EAGAIN; or, if you stop before that (a budget, EMFILE), remember it and come back without waiting.",
		"04: accept(2); kevent(2), EV_CLEAR | accept(2), epoll(7)"},
	"short-read-hides-the-end": {
		"A read that did not fill its buffer was taken for \"nothing left\", but the end of data (EPOLLRDHUP) was there too, and its edge is used up. After EPOLLRDHUP, EPOLLHUP or EPOLLERR read on until the read returns 0 or an error.",
		"epoll(7), question 9; epoll_ctl(2), EPOLLRDHUP"},
	"short-read-at-urgent-mark": {
		"A read stopped short at the urgent mark (MSG_OOB) and was taken for \"nothing left\", but there are bytes after it, whose edge is used up. Ask for EPOLLPRI, and after it read until EAGAIN.",
		"tcp(7), \"urgent data\""},
	"read-finds-nothing": {
		"Each message costs a second read, which finds nothing (EAGAIN). A read that does not fill its buffer has emptied the socket: what comes later makes a new edge.",
		"epoll(7), question 9"},
	"not-edge-triggered": {
		"A descriptor is in the interest list without EPOLLET. Register it once with EPOLLET and everything you will ever want to hear.",
		"epoll_ctl(2), EPOLLET"},
	"epoll_ctl-per-stall": {
		"epoll_ctl is called whenever the send queue fills or drains. Edge-triggered, EPOLLOUT can stay in the interest list for good: it is reported when there is room again, once.",
		"Step \"Writing without epoll_ctl\""},
	"work-on-the-loop": {
		"Offload's work runs on the loop: while it waits, nobody else is served. Run it on a goroutine of its own.",
		"Offloader in the lesson"},
	"oneshot-not-rearmed": {
		"The connection was taken out of sight with EPOLLONESHOT and never armed again: EPOLL_CTL_MOD with its full interest when the work is done.",
		"epoll_ctl(2), EPOLLONESHOT"},
	"read-while-away": {
		"OnData was called for a connection whose earlier request is still being worked on: answers get out of order, and two goroutines meet in one connection.",
		"Offloader in the lesson"},
	"away-wakes-the-loop": {
		"A connection that is with another goroutine goes on waking the loop with each packet. Take it out of sight (EPOLLONESHOT) until it comes back.",
		"epoll_ctl(2), EPOLLONESHOT"},
	"answer-to-a-stranger": {
		"A connection was closed while its work was under way, its descriptor became another connection's, and the end of the work changed that one's registration. Check, under a lock, that the connection is still there.",
		"Step \"A second goroutine\""},
	"answer-lost-in-shutdown": {
		"Shutdown ended a connection whose work was under way, and its answer was lost: wait for it, within the deadline.",
		"Offloader in the lesson"},
	"one-loop-does-all": {
		"All connections are on one loop. Each loop needs a listener of its own on the shared port (SO_REUSEPORT), in its own epoll instance, and a goroutine that polls it.",
		"socket(7), SO_REUSEPORT"},
	"loop-not-asked": {
		"A call of Loops waits for the answer of a loop, and none comes. The question has to be where the loop looks between two turns; the loop has to be woken for it, since it may wait without limit; and a loop whose goroutine has ended answers nothing any more: then the caller does it.",
		"03: loop.do in lessons/03-epoll-et/loops.go"},
	"stats-of-one-loop": {
		"The counters are those of one loop, or of some: add up all of them.",
		"Loops.Stats in the lesson"},
	"place-not-given-back": {
		"A client was refused though there was room: a connection that has ended, or one that was refused, is still in the count that Config.MaxConnections is compared with.",
		"Config.MaxConnections in lessons/engine"},
	"max-connections-per-loop": {
		"Each loop counts for itself, so there are several times as many connections as Config.MaxConnections allows. Count them together.",
		"Config.MaxConnections in lessons/engine"},
	"loop-without-a-thread": {
		"A loop's goroutine moves from thread to thread: runtime.LockOSThread is missing. It works, but what the loop has in one processor's caches is lost at each move.",
		"runtime.LockOSThread"},
	"connection-changes-loops": {
		"A connection was served by two goroutines. One loop accepts it, and that loop alone reads, writes and closes it.",
		"Step \"Several loops\" | epoll(7)"},
	"overlapped-in-use": {
		"One OVERLAPPED was given to two operations. It is an operation's only name and the place of its result: each operation in flight needs one of its own, and it is in flight until its completion has been dequeued, also if the call said at once that it was done (unless FILE_SKIP_COMPLETION_PORT_ON_SUCCESS is set).",
		"Step \"An operation\" | Violation in lessons/05-iocp/iocp/iocp.go"},
	"overlapped-changed": {
		"An OVERLAPPED was written to while its operation was in flight. Clear it before the operation starts, and leave it alone until its completion has been dequeued.",
		"Step \"An operation\" | Violation in lessons/05-iocp/iocp/iocp.go"},
	"kernel-memory-released": {
		"The garbage collector took memory that the kernel was still to write to. Go does not see the kernel's pointers: whatever is in flight has to be reachable from the engine until its completion has been dequeued, also when its connection is closed already, and pinned (runtime.Pinner).",
		"Step \"An operation\" | Violation in lessons/05-iocp/iocp/iocp.go"},
	"buffer-changed": {
		"A buffer was written to while it was the kernel's. What a send was given stays as it is until its completion has been dequeued; so what Send gets from its caller has to be copied before it is lent.",
		"Step \"Sending\" | Violation in lessons/05-iocp/iocp/iocp.go"},
	"buffer-shared": {
		"Two receives in flight fill the same memory. A readiness engine can read everything into one buffer, because it reads when it likes; here the kernel writes when it likes, so each receive in flight needs a buffer of its own.",
		"Step \"Receiving\" | Violation in lessons/05-iocp/iocp/iocp.go"},
	"buffer-given-back-early": {
		"A connection was closed with a send or a receive in flight, and its buffer was given back at once, so that the next send or receive that took a buffer got memory that was still the kernel's. Closing only asks for the end of what is in flight. Give a buffer back when the operation's completion has been dequeued.",
		"Step \"Closing\" | Violation in lessons/05-iocp/iocp/iocp.go"},
	"operation-awaited-in-vain": {
		"Close waits until nothing is in flight, and the engine counts an operation that the kernel does not have. One that fails in its call, and one that is done at once with FILE_SKIP_COMPLETION_PORT_ON_SUCCESS set, gets no completion: take it back where the call returns.",
		"Step \"An operation\" | CloseHandle in lessons/05-iocp/iocp/port_unix.go"},
	"close-fails": {
		"Close returned an error: something that it closes was closed before, or was never opened. Close what is open, once, and note that it is closed (-1, InvalidHandle). Where the kernel works in the engine's place, it can also be an operation that was not cancelled: it holds its connection, and Close waits for it in vain.",
		"06: io_uring_cancelation(7) | Engine.Close in lessons/engine/engine.go"},
	"port-closed-in-flight": {
		"The completion port was closed with operations in flight. Cancelling is a request, and closesocket is one too: each operation still completes, and only then is its memory free. Dequeue until the last has come, then close the port.",
		"Step \"An operation\" | CloseHandle in lessons/05-iocp/iocp/port_unix.go"},
	"timeout-taken-for-error": {
		"The wait timed out, and Poll returned that as an error. WAIT_TIMEOUT means that nothing was done meanwhile: no entries, no error.",
		"GetQueuedCompletionStatusEx in lessons/05-iocp/iocp/port_unix.go"},
	"pending-taken-for-error": {
		"The call said ERROR_IO_PENDING and the operation was taken for failed. It means the opposite: the operation goes on, the memory is the kernel's, and a completion will come.",
		"Step \"An operation\" | WSASend in lessons/05-iocp/iocp/socket_unix.go"},
	"done-at-once-waits": {
		"An operation was done at once, no completion comes for it (FILE_SKIP_COMPLETION_PORT_ON_SUCCESS), and Poll waits before it has been looked at. As long as there is one, the wait must not wait.",
		"Step \"An operation\" | SetFileCompletionNotificationModes in lessons/05-iocp/iocp/socket_unix.go"},
	"send-not-posted": {
		"The engine has bytes queued and no WSASend is in flight. What is queued while one is in flight has to be sent when that one is done.",
		"Step \"Sending\" | WSASend in lessons/05-iocp/iocp/socket_unix.go"},
	"receive-not-posted": {
		"Something is there to be received, and no WSARecv is in flight on the connection. Either nobody posted the next one, or the last was done at once: with FILE_SKIP_COMPLETION_PORT_ON_SUCCESS no completion comes for it, and waiting for one waits for ever.",
		"Step \"Receiving\" | WSARecv in lessons/05-iocp/iocp/socket_unix.go"},
	"accept-not-posted": {
		"Clients wait in the accept queue, and no AcceptEx is in flight. Each one accepts one client: post it again. And one that is done at once has no completion if FILE_SKIP_COMPLETION_PORT_ON_SUCCESS is set.",
		"Step \"An operation\" | AcceptEx in lessons/05-iocp/iocp/socket_unix.go"},
	"accept-waits-for-data": {
		"AcceptEx was given room for the client's first bytes, so it is not done before they have come. Clients that connect and stay silent hold every AcceptEx, and nobody else gets in. Ask for 0 bytes.",
		"AcceptEx in lessons/05-iocp/iocp/socket_unix.go"},
	"accept-context-missing": {
		"The accepted socket does not know what it is connected to (WSAENOTCONN): after AcceptEx it has to be told with SO_UPDATE_ACCEPT_CONTEXT.",
		"AcceptEx in lessons/05-iocp/iocp/socket_unix.go"},
	"idle-connection-holds-a-buffer": {
		"A silent connection holds a receive buffer: with a buffer of n bytes in each receive in flight, 10,000 silent clients hold 10,000 times n. Wait with a receive of 0 bytes, and take a buffer when there is something.",
		"Step \"Receiving\" | WSARecv in lessons/05-iocp/iocp/socket_unix.go"},
	"sends-not-gathered": {
		"What is queued goes out in many small WSASends. One call takes an array of WSABUFs: give it everything that is queued, up to a limit.",
		"Step \"Sending\" | WSASend in lessons/05-iocp/iocp/socket_unix.go"},
	"completions-not-batched": {
		"Many completions are queued, and each wait takes a few of them. GetQueuedCompletionStatusEx takes as many as the array has room for; let the array grow when it was full.",
		"GetQueuedCompletionStatusEx in lessons/05-iocp/iocp/port_unix.go"},
	"skip-mode-differs": {
		"The engine works in one mode of FILE_SKIP_COMPLETION_PORT_ON_SUCCESS and not in the other. With it, an operation that is done at once has no completion; without it, it has one all the same, and until that is dequeued the operation is still the kernel's.",
		"SetFileCompletionNotificationModes in lessons/05-iocp/iocp/socket_unix.go"},
	"input-not-read": {
		"The client's bytes wait in the server's receive queue, and the loop does not read them: it does not ask for this socket's readability, or does not act on it.",
		"Step \"Reading\" | read(2)"},
	"listener-not-watched": {
		"Clients wait in the accept queue, and the listener is not in the interest list (any more), or its knote is disabled.",
		"04: accept(2); kevent(2), EV_ENABLE | accept(2), epoll_ctl(2)"},
	"accept-queue-not-drained": {
		"Clients wait in the accept queue, and nobody accepts them: the listener's readability is not asked for, or not acted on.",
		"accept(2)"},
	"accept-never-resumed": {
		"Accepting stopped when the descriptors ran out, and did not go on when there were some again.",
		"accept(2), EMFILE"},
	"emfile-spins": {
		"The descriptors ran out, accept fails, and the listener stays readable, or stays noted as to be accepted from: every wait returns at once. Stop asking for the listener until a descriptor comes free or some time has passed, or keep a descriptor in reserve to accept and refuse with.",
		"accept(2), EMFILE"},
	"max-connections-ignored": {
		"More connections are served than Config.MaxConnections allows: accept those beyond it, close them and count them in Stats.Refused.",
		"Config.MaxConnections in lessons/engine"},
	"end-of-data-not-seen": {
		"The client has closed, and the server's socket is in CLOSE_WAIT: a read of 0 bytes is the end of data, and nobody acted on it.",
		"read(2), RETURN VALUE"},
	"descriptor-not-closed": {
		"A connection ended and its descriptor stayed open. The server will run out of them.",
		"close(2)"},
	"engine-descriptor-not-closed": {
		"The engine is closed and one of its own descriptors is still open.",
		"Engine.Close in lessons/engine"},
	"count-never-lowered": {
		"The connections are gone and ConnectionCount still counts them.",
		"Engine.ConnectionCount in lessons/engine"},
	"close-without-onclose": {
		"A connection ended without its OnClose. The service can then never forget it.",
		"Handler.OnClose in lessons/engine"},
	"eof-taken-as-close": {
		"The client ended its output, and the server closed the whole connection at once. The end of input is not the end of output: send what is queued first, then close.",
		"shutdown(2); \"A connection's life\" in lessons/engine"},
	"close-before-read": {
		"The end of the connection was reported together with data (EPOLLIN with EPOLLRDHUP or EPOLLHUP; EV_EOF with data above 0), and the connection was closed before the data was read. Read first.",
		"02,03: epoll_ctl(2), EPOLLHUP | 04: kevent(2), EV_EOF | Step \"Reading\" | read(2)"},
	"reset-not-reported": {
		"The connection was reset and OnClose did not get the error (ECONNRESET). A service cannot tell a lost client from one that said goodbye.",
		"Handler.OnClose in lessons/engine"},
	"end-reported-as-error": {
		"The client closed in order, and OnClose got an error. The end of data is nil.",
		"Handler.OnClose in lessons/engine"},
	"event-after-close": {
		"The handler closed a connection, and an event that the kernel had already reported for it was still handed on. Check, before each event of a batch and before each further read, whether the connection is closed by now.",
		"\"A connection's life\" in lessons/engine"},
	"stale-event": {
		"A connection was closed within a batch of events, its descriptor was given to a new one, and an event of the old one hit the new. Put a generation beside the descriptor in the event's data, or close descriptors only after the batch.",
		"02,03: epoll(7), \"Possible pitfalls\" | Step \"Closing\" | close(2)"},
	"registration-outlives-close": {
		"A descriptor was closed, but a duplicate of it is open elsewhere, so its registration lives on and reports for ever. EPOLL_CTL_DEL before close.",
		"epoll(7), question 6"},
	"epoll_ctl-per-message": {
		"epoll_ctl is called for messages that change nothing in the interest list. Remember what is armed, and call it only when that changes.",
		"Step \"Writing\" | write(2), RETURN VALUE"},
	"event-list-too-short": {
		"Many connections are ready, and each wait reports a few of them: the event list is too short. Let it grow when it was full.",
		"04: kevent(2), nevents | epoll_wait(2), maxevents"},
	"kevent-per-change": {
		"Changes are made by calls of kevent of their own. Collect them, and hand them to the kevent that waits: they are applied before it looks for events, and cost no system call.",
		"kevent(2), changelist"},
	"change-after-close": {
		"A change was handed to kevent after its connection had been closed. The descriptor's number may be another file's by then, and the change is that file's. Drop the changes of what is closed; or work them out just before the call.",
		"Step \"Closing\""},
	"knote-not-enabled": {
		"The client's bytes wait in the server's receive queue, and the connection's knote of EVFILT_READ is disabled. EV_DISPATCH disables a knote with each event: EV_ENABLE it when the connection is to be read again.",
		"kevent(2), EV_DISPATCH"},
	"callback-inside-callback": {
		"A callback ran inside another one: most often OnClose straight from Close or Send. A handler in the middle of its work does not expect that. Note the connection, and call OnClose when the running callback has returned.",
		"\"A connection's life\" in lessons/engine"},
	"id-reused": {
		"An ID came twice. Descriptors are used again; a counter never is.",
		"Conn.ID in lessons/engine"},
	"callback-before-onopen": {
		"A connection's first callback has to be OnOpen.",
		"\"A connection's life\" in lessons/engine"},
	"onclose-twice": {
		"OnClose came twice for one connection: two places end it (a failed write and the event that follows, say) and neither looks whether the other has.",
		"\"A connection's life\" in lessons/engine"},
	"callback-after-onclose": {
		"A callback came after the connection's OnClose, which is the last.",
		"\"A connection's life\" in lessons/engine"},
	"empty-ondata": {
		"A read of 0 bytes is the end of data; it was handed on as data.",
		"read(2), RETURN VALUE"},
	"send-after-close": {
		"Send has to return ErrClosed once the connection is closed, or its output ended with CloseWrite.",
		"Conn.Send in lessons/engine"},
	"closewrite-drops-queue": {
		"CloseWrite ended the output before the queue was sent. The end of data comes after the data.",
		"Conn.CloseWrite in lessons/engine"},
	"wakeup-not-cleared": {
		"The wait returns at once again and again: something stays ready that nobody takes care of (the wake descriptor not read, a user event without EV_CLEAR, a listener not accepted from, a connection at its end not closed).",
		"01: select(2) | 02,03: epoll(7), \"level-triggered\" | 04: kevent(2), EV_CLEAR | Engine.Poll in lessons/engine"},
	"wake-lost": {
		"A Wake was lost. Either nothing makes the wait return (is the wake descriptor in the list?), or the flag that makes many wakes one is not reset when the loop has seen the wake, or is reset before the descriptor is read.",
		"Engine.Wake in lessons/engine"},
	"wakes-not-coalesced": {
		"Each Wake costs a turn of its own. Wakes that come before the loop has seen the first are one.",
		"Engine.Wake in lessons/engine"},
	"idle-not-closed": {
		"A connection on which nothing moved stays open beyond Config.IdleTimeout. If nothing else wakes the loop, its wait must end in time to look. (A timer of kqueue: periodic, in milliseconds, and told from a descriptor by its filter.)",
		"Config.IdleTimeout in lessons/engine"},
	"active-taken-for-idle": {
		"A connection on which bytes moved all the time was closed as idle: note the time at each byte that moves.",
		"Config.IdleTimeout in lessons/engine"},
	"idle-limit-too-early": {
		"A connection was closed as idle before its time was over. In the quarter in which its last byte moved that may have been at the very end: four whole ones have to follow it.",
		"Engine.sweep in the lesson"},
	"stall-taken-for-silence": {
		"The loop was held up, and connections whose bytes waited in the kernel meanwhile were closed as idle. The kernel hands over some of what is due in each call, and not all: after a long turn let no more than one quarter of the idle timeout have passed, and serve what has come first.",
		"Engine.sweep in the lesson"},
	"slow-turn-not-counted": {
		"A handler blocked the loop, and Stats does not show it: measure from the return of the wait to the end of the turn, and count what is over Config.TurnBudget.",
		"Stats.SlowTurns in lessons/engine"},
	"waiting-counted-as-busy": {
		"Waiting was counted as work: start the clock when the wait has returned.",
		"Stats.SlowTurns in lessons/engine"},
	"shutdown-drops-queue": {
		"Shutdown closed a connection that still had bytes to send. Stop accepting, let every queue drain, then end each connection in order.",
		"Engine.Shutdown in lessons/engine"},
	"shutdown-ignores-deadline": {
		"Shutdown waits for a client that never reads, beyond its context's deadline. A blocked wait does not see a deadline: let the context wake it.",
		"Engine.Shutdown in lessons/engine"},
	"shutdown-still-accepts": {
		"Shutdown leaves the listener open. New clients connect to a server that will never serve them.",
		"Engine.Shutdown in lessons/engine"},
	"no-close-on-exec": {
		"The descriptor is inherited by every child process the server starts, and keeps connections open that the server has closed. Set close-on-exec when it is made (SOCK_CLOEXEC, EPOLL_CLOEXEC, EFD_CLOEXEC).",
		"open(2), O_CLOEXEC"},
	"no-nodelay": {
		"TCP_NODELAY is not set: Nagle's algorithm holds back a small answer until the last one is acknowledged, up to 40 ms.",
		"tcp(7), TCP_NODELAY"},
	"no-reuseaddr": {
		"SO_REUSEADDR is not set: after a restart the port is taken for up to a minute by connections in TIME_WAIT.",
		"socket(7), SO_REUSEADDR"},
	"ring-not-set-up": {
		"There is no io_uring after Setup, or more than one.",
		"io_uring_setup(2)"},
	"ring-full-too-early": {
		"The submission queue has room and SQE said it is full: full is when the tail is as many places ahead of the kernel's head as there are places.",
		"io_uring(7), \"Submission queueing\""},
	"completion-queue-too-short": {
		"The completion queue is as short as the kernel makes it by itself (twice the submissions): ask for more with IORING_SETUP_CQSIZE.",
		"io_uring_setup(2), IORING_SETUP_CQSIZE"},
	"flags-not-stepped-down": {
		"io_uring_setup says EINVAL to a flag that it does not know. Try the flags from the newest to the oldest, and remember which it took.",
		"io_uring_setup(2), ERRORS"},
	"features-not-probed": {
		"What the kernel can do is not guessed from its version: it says so, in io_uring_params.features and in the probe of operations.",
		"io_uring_register(2), IORING_REGISTER_PROBE"},
	"mapping-not-unmapped": {
		"The ring is closed and its memory still mapped: munmap each of the mappings, before or after the close.",
		"io_uring_setup(2), mmap(2)"},
	"error-not-explained": {
		"The kernel's error is lost. Wrap it, so that errors.Is finds it, and say what helps.",
		"io_uring_setup(2), ERRORS"},
	"submission-not-published": {
		"What was prepared does not reach the kernel: store the new tail (release) before io_uring_enter, and tell it how many there are.",
		"io_uring(7), \"Submission queueing\""},
	"submission-left-behind": {
		"The kernel has not taken all that it was given, as after a bad submission before Linux 5.18, and was not told of the rest again. What there is to submit is our tail less the kernel's head, and not what is new since the last call.",
		"io_uring_enter(2), RETURN VALUE | IORING_SETUP_SUBMIT_ALL in io_uring_setup(2)"},
	"sqe-not-cleared": {
		"A submission still has fields of the one that was in its place before: SQEs are used again and again. Clear it when it is given out.",
		"io_uring_enter(2), struct io_uring_sqe"},
	"queue-overrun": {
		"A submission was written over one that the kernel has not taken yet: compare the tail with the kernel's head (load-acquire) before giving out a place.",
		"io_uring(7), \"Submission queueing\""},
	"index-not-masked": {
		"Head and tail grow for ever; the place in the ring is the index AND the mask.",
		"io_uring(7)"},
	"completions-not-released": {
		"Completions are taken and their places are not given back: after one round of the queue the kernel has no room. Store the new head (release).",
		"io_uring(7), \"Completion queueing\""},
	"overflow-not-fetched": {
		"Completions that had no room in the queue are kept by the kernel (IORING_FEAT_NODROP) until io_uring_enter is called with IORING_ENTER_GETEVENTS, also to wait for nothing.",
		"io_uring_setup(2), IORING_FEAT_NODROP"},
	"in-flight-miscounted": {
		"An operation is over with the completion that has no IORING_CQE_F_MORE, and only with that.",
		"io_uring_enter(2), IORING_CQE_F_MORE"},
	"sqpoll-not-woken": {
		"The kernel's thread sleeps and nobody wakes it: after the store of the tail look at the queue's flags, and if IORING_SQ_NEED_WAKEUP is set call io_uring_enter with IORING_ENTER_SQ_WAKEUP.",
		"io_uring_setup(2), IORING_SETUP_SQPOLL"},
	"buffer-not-found": {
		"The completion and the buffer do not fit together: the number is in the upper 16 bits of the flags, if IORING_CQE_F_BUFFER is set, and names the buffer that was published with it.",
		"io_uring_setup_buf_ring(3)"},
	"buffers-not-returned": {
		"Receive buffers are used up: each that a completion has named has to be put back into the ring, and the tail stored, or receives end with ENOBUFS.",
		"io_uring_buf_ring_add(3), io_uring_buf_ring_advance(3)"},
	"slow-readers-keep-the-buffers": {
		"What clients sent that do not read their answers stays in the receive buffers that all share, because it is not handed over while the connection is paused. That may be as long as there are buffers enough; then hand it over, and give the buffers back.",
		"Step \"Sending\" | io_uring_buf_ring_add(3)"},
	"buffer-published-too-early": {
		"A buffer was visible to the kernel before Publish: write the entry first, store the tail after.",
		"io_uring_buf_ring_advance(3)"},
	"buffer-tail-clobbers-bid": {
		"A completion named another buffer than the one that was filled. The ring's 16-bit tail lies behind the number (Bid) of entry 0: a 32-bit store of the tail must write that number too, as it is now.",
		"Step \"Memory for the kernel\" | io_uring_register(2)"},
	"buffer-not-taken-again": {
		"Without a buffer ring a buffer that was given back is not given out again: each receive gets a new one, until the memory is used up.",
		"Buffers.Give in the lesson | Buffers.Take in the lesson"},
	"blocks-not-used-again": {
		"A block that was put back, or that Append left for a larger one, is not given out again: with every message the memory grows.",
		"Blocks.Put in the lesson | Blocks.Append in the lesson"},
	"kernel-memory-on-go-heap": {
		"The kernel was given an address on Go's heap. A number in a submission keeps nothing alive: map the memory (mmap), or pin it until the last completion.",
		"Step \"Memory for the kernel\" | runtime.Pinner"},
	"blocks-overlap": {
		"Two blocks or buffers share memory: one was given out twice, or cut too long.",
		"Step \"Memory for the kernel\" | io_uring_register(2)"},
	"recv-not-rearmed": {
		"The client's bytes wait in the server's receive queue, and no receive is under way for it. A receive ends with a completion without IORING_CQE_F_MORE (its end, ENOBUFS, a cancellation): start another when there is reason to.",
		"io_uring_prep_recv_multishot(3)"},
	"recv-armed-twice": {
		"More receives are under way than there are connections: one that goes on (IORING_CQE_F_MORE) was started again. Two receives on one socket share its bytes, in no order.",
		"io_uring_prep_recv_multishot(3)"},
	"lost-while-paused": {
		"A client was paused for its queue while a receive was under way for it. Bytes that this receive still brings belong to the stream: keep them, in order and before what comes later, and hand them over when the queue has drained.",
		"Conn.update in the lesson"},
	"accepted-and-forgotten": {
		"A client was accepted while the engine closed, and nobody closed its descriptor: an accept may complete with a client until its cancellation has, so whoever comes after Close or Shutdown has to be closed.",
		"Engine.open in the lesson"},
	"accept-not-rearmed": {
		"Clients wait in the accept queue, and no accept is under way: start another after a completion without IORING_CQE_F_MORE.",
		"io_uring_prep_multishot_accept(3)"},
	"accept-armed-twice": {
		"More accepts are under way than were meant to be: one that goes on (IORING_CQE_F_MORE) was started again, for each client that came.",
		"io_uring_prep_multishot_accept(3)"},
	"accept-error-spins": {
		"An accept that failed is started again at once, and fails again. Only what accept(2) passes on of a connection that failed while it waited (ECONNABORTED, EPROTO, ENETDOWN …) says nothing of the next one; after any other error wait a while.",
		"accept(2), \"Error handling\""},
	"closed-in-flight": {
		"The descriptor is closed, and operations that are under way still hold the socket: no FIN goes out. Cancel them, wait for their completions, then close.",
		"io_uring_cancelation(7)"},
	"stale-completion": {
		"A completion of a connection that is gone was taken for one of a newcomer with the same descriptor: put a generation into user_data, and give the descriptor back only after the last completion.",
		"io_uring_cancelation(7)"},
	"memory-freed-in-flight": {
		"Other bytes went out than were sent: a block was used again while the kernel was still sending from it. It is yours again with the completion, not before.",
		"Step \"Memory for the kernel\" | io_uring_register(2)"},
	"sends-out-of-order": {
		"Later bytes came before earlier ones: either two sends were under way on one socket, and the second overtook the rest of the first, or a short send was taken for a whole one and its rest dropped. One send at a time; what it did not take goes first with the next.",
		"io_uring(7): \"no guarantee of order\""},
	"enter-per-message": {
		"Each message costs system calls of its own. Prepare the submissions of a whole turn, then call io_uring_enter once.",
		"06: io_uring_enter(2) | Stats in lessons/engine"},
	"tick-goes-on": {
		"Close waits for a multishot timeout that nobody ends. It had fired and nobody had fetched its completion when it was cancelled: then the cancellation does not find it (ENOENT), and it goes on (IORING_CQE_F_MORE). Cancel it again when it completes.",
		"Engine.complete in the lesson | io_uring_cancelation(7)"},
	"closing-spins": {
		"Close looks again and again instead of waiting: a list of those that are still to be served, or that wait for a buffer, says that there is something to do. Nobody is served any more: empty the lists before.",
		"Engine.closeAll in the lesson | Engine.wait in the lesson"},
	"completion-after-close": {
		"The engine is closed while operations are under way: the kernel holds the sockets, and may write to memory that is somebody else's by now. Cancel everything and wait until nothing is in flight.",
		"io_uring_cancelation(7)"},
	"ring-on-two-threads": {
		"io_uring_enter says EEXIST: with IORING_SETUP_SINGLE_ISSUER the thread that enabled the ring is the only one that may use it. Lock the goroutine to its thread (runtime.LockOSThread) before.",
		"io_uring_setup(2), IORING_SETUP_SINGLE_ISSUER"},
	"direct-with-descriptor": {
		"A connection was accepted with a descriptor although Options.Direct asks for a place in the ring's own table.",
		"io_uring_prep_accept_direct(3)"},
	"frames-lost": {
		"Whole frames in one piece do not come out as they went in: type and body of each, in order, and the rest of the data after it.",
		"Decoder.Next in the lesson"},
	"half-frame-lost": {
		"A frame came in pieces and was lost, or cut. TCP has no messages: keep what there is of a frame until the rest comes, and cut the next one off only where it begins.",
		"Step \"The frames\""},
	"length-not-bounded": {
		"The length that a stranger sends is believed. Look at the four bytes before anything is kept: 0 has no type, and what is longer than the longest frame a client may send is an attack or another protocol.",
		"frameLength in the lesson"},
	"decoder-allocates": {
		"Decoding a frame that came whole allocates. Return a part of the data itself; copy only what is not complete.",
		"Decoder.Next in the lesson"},
	"fixed-wait": {
		"Poll does not get the time that is left to the next tick. A wait of its own length (16 ms, say) makes every tick late by what the last turn took.",
		"Loop.Poll in the lesson"},
	"waits-for-ever": {
		"The next tick is late already, and the engine was asked to wait a negative time, which is without limit. What is less than nothing is 0.",
		"Engine.Poll in lessons/engine"},
	"tick-not-made-when-due": {
		"The wait was right, and the tick that it was for was not made after it. Look for what is due after the engine's Poll, not before it; and a tick is due at its deadline, not a nanosecond later.",
		"Step \"The loop\""},
	"limit-ignored": {
		"The caller's own timeout is not kept: the wait is the shorter of the two, and a negative timeout is no limit.",
		"Engine.Poll in lessons/engine"},
	"deadline-drifts": {
		"The lateness of each tick is passed on to the next: its time was taken from when the last one ran (now + dt). Count from the start: start + n*dt.",
		"Loop.deadline in the lesson"},
	"dt-rounded": {
		"A sixtieth of a second is no whole number of nanoseconds. Multiply first and divide then: n*time.Second/rate, not n*(time.Second/rate).",
		"Loop.deadline in the lesson"},
	"no-clamp": {
		"After a stall all missed ticks are made up for at once (or the grid of deadlines is lost). That takes time, in which more come due: the spiral. Make at most MaxCatchUp, drop the rest, and go on on the same grid.",
		"Loop.run in the lesson"},
	"drops-not-counted": {
		"Ticks were dropped and LoopStats.Dropped does not say how many: nobody will know why the world stood still.",
		"LoopStats in the lesson"},
	"wrong-loop-stats": {
		"LoopStats does not say what happened: ticks made and dropped, how late, how busy, and turns whose ticks took longer than a tick has.",
		"LoopStats in the lesson"},
	"broadcast-per-tick": {
		"Each of several ticks that were due at once was sent. Nobody sees the states between them: send once, after the last.",
		"Simulation in the lesson"},
	"wrong-order": {
		"A turn has an order: poll (what has come in), the steps that are due, then one broadcast.",
		"Loop.run in the lesson"},
	"tick-too-early": {
		"A tick was made before its time.",
		"Loop.due in the lesson"},
	"ticks-missing": {
		"Ticks are due and are not made.",
		"Loop.run in the lesson"},
	"loop-fails": {
		"The turn failed although the engine's did not.",
		"Loop.Poll in the lesson"},
	"walls-not-checked": {
		"A player is in a wall. Look at every tile under the player's square, not at the one under its centre, and at the place where the step ends.",
		"World.blocked in the lesson"},
	"players-overlap": {
		"Two players are in one place: a step is allowed only if nobody is where it leads.",
		"World.blocked in the lesson"},
	"neighbour-cell-forgotten": {
		"Two players are in one place, and a border of the spatial grid is between them: who is near a border can touch somebody in the next cell.",
		"World.blocked in the lesson"},
	"step-of-another-length": {
		"On free ground a step is made as it was asked for.",
		"World.Apply in the lesson"},
	"sequence-not-kept": {
		"A player's state has the sequence number of the last input that was applied: the client learns from it what the server knows.",
		"World.Apply in the lesson"},
	"no-slide": {
		"A wall in one direction stopped the other, too. Move along one axis after the other.",
		"World.Apply in the lesson"},
	"stops-short": {
		"A player that walks into a wall should end up touching it: when the whole step is too long, try a shorter one.",
		"World.Apply in the lesson"},
	"grid-stale": {
		"A player has moved from one cell of the spatial grid to another and is still in the list of the first: who looks there, for collisions or for interest, finds the wrong ones.",
		"World.Apply in the lesson"},
	"free-place-refused": {
		"There is nothing in the way, and the player cannot go there.",
		"World.blocked in the lesson"},
	"not-deterministic": {
		"The same inputs lead to different worlds: something depends on the time, on chance, on the order of a map, or on the order of arrival.",
		"Step \"The world\""},
	"hash-incomplete": {
		"Two states that differ have the same hash: all of a player's state goes into it.",
		"World.Hash in the lesson"},
	"no-welcome": {
		"A join is answered with a welcome as the table of frames has it: ID, token, sequence, tick, rate, width, height, seed.",
		"Game.join in the lesson"},
	"merged-frames-lost": {
		"Several frames came in one piece, and only the first was looked at. Call Next until it has no more.",
		"Game.OnData in the lesson"},
	"no-pong": {
		"A ping is answered with a pong: the same nonce, and the tick.",
		"Game.handle in the lesson"},
	"phase-not-checked": {
		"A frame that is none, or not at this point, was taken: before the join nothing but a join, after it no second, and a body has the size that the table says.",
		"Game.handle in the lesson"},
	"refused-without-a-word": {
		"The connection was ended without an error frame: the client cannot tell a full server from a broken one.",
		"Game.refuse in the lesson"},
	"full-without-a-word": {
		"When there is no room (World.Spawn says so) the client is sent ErrorFull.",
		"Game.join in the lesson"},
	"wrong-error-code": {
		"The error has another code than the table says: clients act on it.",
		"ErrorCode in the lesson"},
	"closed-before-the-error-arrives": {
		"Close drops what is queued, and data of the client's that nobody has read turns it into a reset: the error frame may never arrive. CloseWrite sends the rest, and the end of data after it.",
		"Conn.CloseWrite in lessons/engine"},
	"refused-and-kept": {
		"A client that was refused is still served, or its connection kept open: end its output, take nothing more from it, and close it if it does not close by itself.",
		"Game.finish in the lesson"},
	"spectator-has-a-player": {
		"A spectator looks on and has no player.",
		"Game.join in the lesson"},
	"id-used-again": {
		"An ID was given to two players. Slots are used again, IDs never: a client that missed something would take one for the other.",
		"Player in the lesson"},
	"leave-ignored": {
		"Who leaves (a leave frame) is taken out of the world at once, and its connection ends.",
		"Game.leave in the lesson"},
	"dropped-with-the-connection": {
		"The player vanished with its connection. A connection that breaks is not a leave: the player stays for RejoinTicks, so that it can come back.",
		"Game.unseat in the lesson"},
	"inputs-outlive-the-connection": {
		"The inputs that waited when the connection broke were applied after it. Who comes back is told the last number that was applied and goes on from there; what was queued is void.",
		"Game.unseat in the lesson"},
	"answer-taken-for-backlog": {
		"Queued is above 0 right after a Send on an engine that hands over what is sent with its next Poll: that is no slow client. Only what it was sent before this turn says so.",
		"client.backlog in the lesson"},
	"clients-not-forgotten": {
		"The list of clients has one too many, one too few, or the wrong one: when one goes, the last takes its place, and its index changes.",
		"Game.OnClose in the lesson"},
	"inputs-out-of-order": {
		"Inputs are applied in the order of arrival. They have numbers: apply them by these.",
		"Game.input in the lesson"},
	"inputs-all-at-once": {
		"Several inputs of one player were applied in one tick: who sends more is faster. One a tick.",
		"Game.applyInputs in the lesson"},
	"input-applied-at-once": {
		"An input was applied when it arrived. Between two ticks the world stands still; inputs wait for theirs.",
		"Game.input in the lesson"},
	"input-applied-twice": {
		"An input was applied more than once: a number that is not above the last one that was applied, or that is queued already, is stale.",
		"Game.input in the lesson"},
	"speed-not-checked": {
		"A step that is too long was applied. The client says what it wants, the server what it can: dx*dx + dy*dy is at most MaxSpeed*MaxSpeed. (The square of -32768, twice, does not fit into 32 bits.)",
		"Game.input in the lesson"},
	"future-not-refused": {
		"An input from far ahead was taken, and everything that comes after it is old: one frame, and the player is dead. Refuse numbers that are far above the last.",
		"Game.input in the lesson"},
	"short-step-refused": {
		"A step that is not too long was refused: its length is that of the diagonal, dx*dx + dy*dy against the square of the longest, not the sum of both.",
		"Game.input in the lesson"},
	"input-queue-unbounded": {
		"A client can queue as many inputs as it likes: memory, and minutes of movement. The queue ends at Config.InputQueue.",
		"Game.input in the lesson"},
	"rejected-not-counted": {
		"Inputs were refused or dropped, and Stats does not say so: cheats, and clients that are wrong, are found by these numbers.",
		"Stats in the lesson"},
	"others-wait": {
		"One client's doing changed what another one gets.",
		"Step \"Slow clients\""},
	"flood-not-limited": {
		"A client may send as many frames as it likes: every one costs the server time. Give it an allowance that refills with the ticks, up to what ten seconds bring.",
		"Game.refill in the lesson"},
	"busy-taken-for-flood": {
		"A client that sends what it may was taken for a flood: the allowance does not refill.",
		"Game.refill in the lesson"},
	"order-of-arrival": {
		"The result depends on whose bytes came first, or on the order of a map. Take the players in a fixed order: that of their slots.",
		"Game.applyInputs in the lesson"},
	"no-snapshot": {
		"Every client that has joined is sent one snapshot for each broadcast.",
		"Game.Broadcast in the lesson"},
	"wrong-snapshot": {
		"The snapshot is not the world after the tick: it was made before the step, or has the wrong players, or the wrong state of one.",
		"encoder.appendSnapshot in the lesson"},
	"encoded-per-client": {
		"The same snapshot was encoded for each client. Encode each view once and give all who have it the same bytes: Send copies what the kernel does not take.",
		"Game.encode in the lesson"},
	"shared-buffer-changed": {
		"The shared buffer was changed between two sends: the clients get different bytes. What differs between clients does not belong into a snapshot.",
		"Game.send in the lesson"},
	"allocates-per-tick": {
		"A tick allocates. At 60 Hz the garbage collector comes in the middle of one: keep buffers, and clear maps, from tick to tick.",
		"Game.Broadcast in the lesson"},
	"stale-snapshots-pile-up": {
		"Snapshots were queued behind one that the client has not taken yet. When they arrive they are old, and memory grows. While Conn.Queued is above 0, let the client wait; what it gets next is the state of then.",
		"Game.isSlow in the lesson"},
	"frame-cut": {
		"What was sent is not whole frames. Once a byte of a frame is with the engine, all of it must follow: replace only snapshots of which nothing has been sent.",
		"Game.send in the lesson"},
	"replaced-for-ever": {
		"A client that was slow and is not any more is sent nothing.",
		"Game.isSlow in the lesson"},
	"stale-snapshot": {
		"After a pause the client was sent an old state, not the latest.",
		"Game.send in the lesson"},
	"replaced-not-counted": {
		"Snapshots were left out for a slow client, and Stats.Replaced does not say so.",
		"Stats in the lesson"},
	"slow-client-dropped-at-once": {
		"A client was dropped before its time was over: a network may stand still for a moment.",
		"Game.skip in the lesson"},
	"slow-client-kept": {
		"A client that takes nothing is kept for ever. After SlowTicks it is dropped: Close, since an error and the end of data would wait behind what it does not take.",
		"Game.skip in the lesson"},
	"unsent-noted-as-sent": {
		"Send refused a snapshot (ErrBackpressure: it is longer than the connection may queue), and the client counts as one that was sent it, or as one that is not slow. Look at the error of Send: nothing was sent, so nothing is noted, and the client is skipped.",
		"Game.send in the lesson"},
	"pongs-pile-up": {
		"Pongs were queued for a client that does not read: it makes the server's memory grow by sending pings. A pong that has to wait says nothing any more; leave it out. If you do leave it out, look at what counts as just answered: client.replied begins anew with each broadcast.",
		"Game.handle in the lesson"},
	"delta-against-last-sent": {
		"The delta is against the last snapshot that was sent. The client has the last that it has acknowledged; it may have thrown away what came since.",
		"Game.baseOf in the lesson"},
	"delta-against-unknown": {
		"A snapshot is against one that the client was never sent, or does not have any more: it keeps 32, that of tick t in place t % 32.",
		"Game.baseOf in the lesson"},
	"no-delta": {
		"The client has acknowledged a snapshot, and is sent everything all the same, or what was made for clients with another base.",
		"Game.baseOf in the lesson"},
	"ack-not-checked": {
		"An acknowledgement of a snapshot that this client was not sent, or of one older than the last, was taken: the next delta is against something that it does not have, or the client counts as one that keeps up and does not.",
		"Game.ack in the lesson"},
	"delta-too-long": {
		"The delta has players that have not changed since its base, or says that somebody is gone who is not.",
		"encoder.appendSnapshot in the lesson"},
	"gone-forgotten": {
		"A player that has left is still there for a client that got deltas: the delta has to say who is gone.",
		"encoder.appendGone in the lesson"},
	"gone-twice": {
		"A delta takes away a player whom its base does not have.",
		"encoder.appendGone in the lesson"},
	"baseline-overwritten": {
		"The baseline is older than the history, and its place has another tick's world by now: compare the ticks, and send everything if they differ.",
		"Game.baseOf in the lesson"},
	"unacknowledged-without-limit": {
		"A client that acknowledges nothing is sent snapshot after snapshot. An empty queue says that the kernel has the bytes, not that the client has: limit what may be under way.",
		"Game.lagsBehind in the lesson"},
	"wrong-interest": {
		"A player should see exactly those in its cell of the grid and in the eight around it, and a delta is against what was seen from the cell of the time. (A spectator sees all.)",
		"Game.viewOf in the lesson"},
	"interest-ignored": {
		"Config.Interest is set, and each player is sent the whole world.",
		"Game.cellOf in the lesson"},
	"rejoin-starts-over": {
		"Who comes back with its token gets its player again: ID, place, sequence; and keeps it.",
		"Game.rejoin in the lesson"},
	"player-stays-for-ever": {
		"A player whose connection broke long ago is still in the world: after RejoinTicks it goes.",
		"Game.expire in the lesson"},
	"token-outlives-the-player": {
		"The player is gone and its token is still good: whoever has it gets somebody else's slot.",
		"Game.remove in the lesson"},
	"two-connections-one-player": {
		"Two connections have one player. The newer wins: the old one is dead, or lost, and its end is not the player's.",
		"Game.rejoin in the lesson"},
	"silent-connection-kept": {
		"A connection of which nothing is heard is kept for ever (or one that never joins). The engine's idle timeout does not see it, since snapshots go out all the time.",
		"Game.expire in the lesson"},
	"half-frame-counts-as-life": {
		"A byte now and then kept a connection alive. Only a frame counts.",
		"Game.handle in the lesson"},
	"idle-too-soon": {
		"A connection was ended before its time was over.",
		"Game.expire in the lesson"},
	"busy-taken-for-idle": {
		"A client that sends frames was taken for a silent one.",
		"Game.handle in the lesson"},
	"shutdown-without-a-word": {
		"The clients are not told that the server shuts down.",
		"Game.Shutdown in the lesson"},
	"game-does-not-get-it": {
		"What a client sends over TCP does not reach the game, or what the game sends does not reach the client.",
		"Game.OnData in the lesson"},
	"wrong-stats": {
		"A counter of Stats does not say what happened. The lab's later lessons compare engines by these numbers.",
		"Stats in lessons/engine"},
}
