package labtest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"iolab/checker/probe"
	"iolab/checker/report"
	"iolab/lessons/05-iocp/iocp"
	"iolab/lessons/engine"
)

// Scene is what was to be seen when a test failed. Rules look at it.
type Scene struct {
	Failure
	Clues
	Config engine.Config // with defaults

	// The loop, watched for a tenth of a second.
	Frames  []string // the calls it is in, innermost first; empty if it is gone
	Turns   int      // turns that ended while it was watched
	CPU     float64  // share of one processor that it used
	Answers bool     // it does what it is asked to between turns

	// The engine's own account, if the loop answers.
	Stats engine.Stats
	Count int

	// The server's end of the client's connection.
	Known    bool // it has had OnOpen
	Gone     bool // it has had OnClose
	CloseErr error
	Queued   int        // bytes in the engine's queue
	HasFD    bool       // its descriptor was found
	FD       probe.FD   // the descriptor
	Sock     probe.Sock // and its socket

	// epoll, if the engine uses it.
	Epoll     []probe.Interest
	HasEpoll  bool
	Interest  probe.Interest // of FD
	Watched   bool           // FD is in the interest list
	Listener  probe.Sock
	Listening bool // a listener was found
	ListenFD  int
	ListenInt probe.Interest // the listener's interest
	ListenIn  bool           // the listener is in the interest list

	// io_uring, if the engine uses it.
	HasRing bool
	Ring    probe.Ring

	// Completion ports, if the engine uses the lab's emulation of them.
	HasPort       bool
	Posted        []string // operations in flight on the client's connection, such as "WSARecv"
	AcceptsPosted int      // operations in flight on the listener
	// AcceptsWaiting is how many AcceptEx have a client and wait for its first bytes.
	AcceptsWaiting int
}

// NotConnected tells whether OnClose got Winsock's word for a socket that does not know
// its connection.
func (s *Scene) NotConnected() bool { return errors.Is(s.CloseErr, iocp.WSAENOTCONN) }

// Misused is the rule of the kernel's memory that a panic says was broken, "" if it is
// another panic.
func (s *Scene) Misused() string {
	if v, ok := s.Panic.(interface{ Violated() string }); ok {
		return v.Violated()
	}
	return ""
}

// Waits tells whether an operation of that name ("recv", "accept") waits in the engine's
// io_uring.
func (s *Scene) Waits(operation string) bool { return s.Ring.Waiting[operation] > 0 }

// In tells whether the loop is inside a call whose name ends in one of names.
func (s *Scene) In(names ...string) bool {
	for _, frame := range s.Frames {
		for _, name := range names {
			if strings.HasSuffix(frame, name) {
				return true
			}
		}
	}
	return false
}

// Armed tells whether the interest list asks for event (such as "EPOLLIN") on the
// client's connection.
func (s *Scene) Armed(event string) bool { return hasEvent(s.Interest, event) }

// AnyArmed tells whether the interest list asks for event, and not for without, on any
// descriptor.
func (s *Scene) AnyArmed(event, without string) bool {
	return slices.ContainsFunc(s.Epoll, func(i probe.Interest) bool { return hasEvent(i, event) && !hasEvent(i, without) })
}

func hasEvent(i probe.Interest, event string) bool {
	for name := range strings.SplitSeq(probe.DecodeEpoll(i.Events), "|") {
		if name == event {
			return true
		}
	}
	return false
}

// look gathers the scene of f. It takes about a tenth of a second.
func (l *Lab) look(f Failure) *Scene {
	s := &Scene{Failure: f, Config: l.Config()}
	pid := os.Getpid()
	if rings := l.Rings(); len(rings) > 0 {
		s.HasRing, s.Ring = true, rings[0]
	}
	if l.engine == nil {
		if !l.loopDead() {
			s.Frames = l.loop.frames()
		}
		return s
	}

	const window = 100 * time.Millisecond
	before := l.peek(s)
	turns, cpu := l.loop.turns.Load(), l.cpu()
	time.Sleep(window)
	s.Turns = int(l.loop.turns.Load() - turns)
	s.CPU = float64(l.cpu()-cpu) / float64(window)
	if !l.loopDead() {
		s.Frames = l.loop.frames()
	}

	fds, _ := probe.FDs(pid)
	if f.Symptom == Busy && f.Client == nil {
		f.Client = l.conspicuous(fds)
		s.Client = f.Client
	}
	if s.Answers {
		if l.peek(s); s.Moved == (engine.Stats{}) {
			s.Moved = gained(before, s.Stats)
		}
	}
	l.clues(s, fds)
	for _, fd := range fds {
		switch {
		case fd.Kind == "epoll" && !l.epfds[fd.Num]:
			s.HasEpoll = true
			table, _ := probe.EpollTable(pid, fd.Num)
			s.Epoll = append(s.Epoll, table...)
		case fd.Kind == "tcp":
			if posted, _ := iocp.Pending(iocp.Handle(fd.Num)); slices.Contains(posted, "AcceptEx") {
				s.AcceptsWaiting++
			}
		case fd.Kind == "listener" && fd.Local == l.engine.Addr():
			s.Listening, s.ListenFD = true, fd.Num
			s.Listener, _ = probe.Queues(fd.Num)
		}
	}
	if c := f.Client; c != nil {
		life, ok := l.service.lookup(c.local)
		s.Known, s.Gone, s.CloseErr = ok, life.closed, life.err
		if s.FD, s.HasFD = probe.SocketByPeer(pid, c.local); s.HasFD {
			s.Sock, _ = probe.Queues(s.FD.Num)
		}
	}
	if s.HasFD {
		s.Posted, s.HasPort = iocp.Pending(iocp.Handle(s.FD.Num))
	}
	if s.Listening {
		if posted, ok := iocp.Pending(iocp.Handle(s.ListenFD)); ok {
			s.HasPort, s.AcceptsPosted = true, len(posted)
		}
	}
	for _, i := range s.Epoll {
		if s.HasFD && i.FD == s.FD.Num && !i.Ghost {
			i.Events |= s.Interest.Events // under the emulation of kqueue it may be in two tables
			s.Interest, s.Watched = i, true
		}
		if s.Listening && i.FD == s.ListenFD && !i.Ghost {
			s.ListenInt, s.ListenIn = i, true
		}
	}
	return s
}

// peek asks the engine for its own account, on the loop, if that answers.
func (l *Lab) peek(s *Scene) engine.Stats {
	var stats engine.Stats
	var count, queued int
	answered := make(chan struct{})
	ask := func() {
		defer close(answered)
		defer func() { _ = recover() }() // an engine may be in pieces by now
		stats, count = l.engine.Stats(), l.engine.ConnectionCount()
		if s.Client != nil && !l.several {
			if life, ok := l.service.lookup(s.Client.local); ok && !life.closed {
				queued = life.conn.Queued()
			}
		}
	}
	s.Answers = false
	select {
	case l.loop.requests <- ask:
		select {
		case <-answered:
			s.Answers = true
			s.Stats, s.Count, s.Queued = stats, count, queued
		case <-l.loop.dead:
		case <-time.After(time.Second):
		}
	case <-l.loop.dead:
	case <-time.After(time.Second):
	}
	return s.Stats
}

// evidence is the scene in words.
func (s *Scene) evidence() []report.Evidence {
	var all []report.Evidence
	add := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			all = append(all, report.Evidence{Name: name, Text: text})
		}
	}
	if s.Stack != "" {
		add("where it panicked", "%s", readerFrames(s.Stack))
	}
	switch {
	case len(s.Frames) > 0:
		const most = 12
		in := strings.Join(s.Frames[:min(len(s.Frames), most)], " < ")
		if n := len(s.Frames) - most; n > 0 {
			in += fmt.Sprintf(" < … %d more", n)
		}
		add("the loop", "is in %s\n%.0f%% of a processor, %d turns in 100 ms", in, 100*s.CPU, s.Turns)
	case s.Turns > 0 || s.CPU > 0.01:
		add("the loop", "%.0f%% of a processor, %d turns in 100 ms", 100*s.CPU, s.Turns)
	}
	if s.HasFD {
		add("the server's socket", "%s", socketLine(s.FD.Num, s.Sock, s.Queued, s.Known && !s.Gone))
	} else if s.Client != nil {
		switch {
		case s.Gone:
			add("the server's socket", "closed; OnClose was called with %v", errText(s.CloseErr))
		case s.Known && s.WasReset:
			add("the server's socket", "not connected any more: the client's reset has come, and OnClose has not")
		case s.Listening:
			add("the server's socket", "none with this client at its other end: accepted and closed, or still in the accept queue")
		}
	}
	s.clueLines(add)
	if s.Listening && (s.Listener.AcceptQueue > 0 || s.Client == nil) {
		add("the listener", "fd %d, %d of %d places of the accept queue taken", s.ListenFD, s.Listener.AcceptQueue, s.Listener.Backlog)
	}
	if s.HasEpoll {
		name := "epoll interest list"
		if s.Stats.Calls[engine.CallKevent] > 0 {
			name = "knotes, as the emulation gives them to epoll (IN: EVFILT_READ, OUT: EVFILT_WRITE, neither: disabled)"
		}
		add(name, "%s", epollLines(s))
	}
	if s.HasRing {
		add("io_uring", "%s", ringLines(s.Ring))
	}
	if s.HasPort {
		add("the kernel has", "%s", postedLines(s))
	}
	if len(s.Leaked) > 0 {
		var text []string
		for i, fd := range s.Leaked {
			if i == 5 {
				text = append(text, fmt.Sprintf("… and %d more", len(s.Leaked)-i))
				break
			}
			text = append(text, fd.String())
		}
		add("descriptors too many", "%s", strings.Join(text, "\n"))
	}
	if s.Answers {
		add("Stats", "%s", statsLine(s.Stats))
	}
	return all
}

func errText(err error) string {
	if err == nil {
		return "nil"
	}
	return fmt.Sprintf("%q", err)
}

func socketLine(fd int, k probe.Sock, queued int, known bool) string {
	text := fmt.Sprintf("fd %d, %s, %d bytes received and not read, %d sent and not acknowledged", fd, k.State, k.Unread, k.Unsent)
	if known {
		text += fmt.Sprintf("\n%d bytes in the engine's own queue", queued)
	}
	if !k.NonBlocking {
		text += "\nit is in blocking mode"
	}
	return text
}

// unaskedEvents are EPOLLERR and EPOLLHUP, which the kernel adds to every entry.
const unaskedEvents = 0x8 | 0x10

func epollLines(s *Scene) string {
	var rest int
	var text []string
	for _, i := range s.Epoll {
		i.Events &^= unaskedEvents
		var who string
		switch {
		case s.HasFD && i.FD == s.FD.Num && !i.Ghost:
			who = "  <- this client"
		case s.Listening && i.FD == s.ListenFD:
			who = "  <- the listener"
		case i.Ghost:
			who = "  <- a ghost: the descriptor it was added for is closed, a duplicate keeps it alive"
		case len(text) >= 6:
			rest++
			continue
		}
		text = append(text, fmt.Sprintf("fd %-4d %s%s", i.FD, probe.DecodeEpoll(i.Events), who))
	}
	if s.HasFD && !s.Watched {
		text = append(text, fmt.Sprintf("fd %-4d is not in the list", s.FD.Num))
	}
	if rest > 0 {
		text = append(text, fmt.Sprintf("… and %d more", rest))
	}
	return strings.Join(text, "\n")
}

func ringLines(r probe.Ring) string {
	var waiting []string
	for _, name := range slices.Sorted(maps.Keys(r.Waiting)) {
		waiting = append(waiting, fmt.Sprintf("%d %s", r.Waiting[name], name))
	}
	if len(waiting) == 0 {
		waiting = []string{"none"}
	}
	text := fmt.Sprintf("fd %d, %d submissions not taken by the kernel, %d of %d places of the completion queue taken", r.FD, r.SqTail-r.SqHead, r.CqTail-r.CqHead, r.CqEntries)
	if r.Overflow > 0 {
		text += fmt.Sprintf("\n%d completions had no room", r.Overflow)
	}
	return text + "\noperations that wait for a socket: " + strings.Join(waiting, ", ")
}

func postedLines(s *Scene) string {
	var client string
	if s.HasFD {
		client = "no operation on this client's connection"
		if len(s.Posted) > 0 {
			client = strings.Join(s.Posted, ", ") + " on this client's connection"
		}
	}
	var waiting string
	if s.AcceptsWaiting > 0 {
		waiting = fmt.Sprintf("%d AcceptEx that have a client and wait for its first bytes", s.AcceptsWaiting)
	}
	return lines(client, fmt.Sprintf("%d AcceptEx on the listener", s.AcceptsPosted), waiting)
}

func statsLine(s engine.Stats) string {
	return lines(
		fmt.Sprintf("%d connections, %d accepted, %d refused, %d bytes in, %d out", s.Connections, s.Accepts, s.Refused, s.BytesIn, s.BytesOut),
		fmt.Sprintf("%d wakeups, %d EAGAINs, %d short writes", s.Wakeups, s.EAGAINs, s.ShortWrites),
		callsLine(s))
}

// readerFrames are the lines of a panic's stack that are not the runtime's or the
// lab's.
func readerFrames(stack string) string {
	var kept []string
	rows := strings.Split(stack, "\n")
	for i := 1; i+1 < len(rows); i += 2 {
		call, place := rows[i], strings.TrimSpace(rows[i+1])
		if strings.HasPrefix(call, "runtime") || strings.HasPrefix(call, "panic(") || strings.Contains(call, "labtest.(*loop).run.func") {
			continue
		}
		if strings.HasPrefix(call, "iolab/checker/labtest.") || len(kept) == 6 {
			break
		}
		if j := strings.LastIndex(place, " +0x"); j > 0 {
			place = place[:j]
		}
		if j := strings.Index(place, "/lessons/"); j > 0 {
			place = place[j+1:]
		} else if j := strings.Index(place, "/solutions/"); j > 0 {
			place = place[j+1:]
		}
		if j := strings.LastIndex(call, "("); j > 0 {
			call = call[:j]
		}
		kept = append(kept, place+"  "+call[strings.LastIndex(call, "/")+1:])
	}
	return strings.Join(kept, "\n")
}

// IsReset tells whether err is a connection reset, by any of the names that
// systems have for it.
func IsReset(err error) bool {
	for _, errno := range resetErrors {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
