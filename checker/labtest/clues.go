package labtest

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"iolab/checker/probe"
	"iolab/checker/report"
	"iolab/lessons/engine"
)

// Clues are what a scene has beside the engine's own account and the kernel's: what
// only the lab can know, because it played the clients and made the engine.
type Clues struct {
	Open        int              // connections that have had OnOpen and no OnClose
	Strangers   []netip.AddrPort // remote addresses of connections that are none of the clients'
	WasReset    bool             // the client has reset its connection
	Echo        bool             // the service sends back what it gets, and nothing else
	Ready       []probe.FD       // descriptors that New opened, not TCP, with something to read: a wake or a timer that nobody took
	ShutdownErr error            // what Shutdown returned, if it has
	Untold      *Client          // a client that was sent nothing, and has not had the end of data either
}

// conspicuous is the client whose server's end has something that nobody takes, for
// failures that are about no client's in particular; nil if there is none.
func (l *Lab) conspicuous(fds []probe.FD) *Client {
	if len(l.clients) > 300 {
		return nil // one of a crowd proves nothing
	}
	byPeer := map[netip.AddrPort]int{}
	for _, fd := range fds {
		if fd.Kind == "tcp" && fd.Remote.IsValid() {
			byPeer[fd.Remote] = fd.Num
		}
	}
	for _, c := range l.clients {
		if fd, ok := byPeer[c.local]; ok {
			if sock, err := probe.Queues(fd); err == nil && (sock.Unread > 0 || sock.State == "CLOSE_WAIT") {
				return c
			}
		}
	}
	return nil
}

// untold is a client that was sent nothing, not even the end of data; nil if there is
// none.
func (l *Lab) untold(fds []probe.FD) *Client {
	for _, fd := range fds {
		for _, c := range l.clients {
			if fd.Kind == "tcp" && fd.Remote == c.local && fd.State == "ESTABLISHED" && c.received.Load() == 0 {
				if sock, err := probe.Queues(fd.Num); err == nil && sock.Unsent == 0 {
					return c
				}
			}
		}
	}
	return nil
}

// clues gathers them; fds are all of the process's.
func (l *Lab) clues(s *Scene, fds []probe.FD) {
	s.Open, s.Strangers = l.service.strangers(l.clients)
	if l.crowds {
		s.Strangers = nil // a crowd's addresses are not known here
	}
	_, s.Echo = l.service.service.(engine.Echo)
	if s.Client != nil {
		s.WasReset = s.Client.wasReset.Load()
	}
	if len(l.shutdown) > 0 {
		s.ShutdownErr = <-l.shutdown
		l.shutdown <- s.ShutdownErr
	}
	if l.shutdown != nil && s.Symptom == NoEOF {
		s.Untold = l.untold(fds)
	}
	if s.Stats.Calls[engine.CallKevent] > 0 {
		return // what is ready there belongs to the emulation
	}
	own := probe.Leaked(l.before, l.afterNew)
	for _, fd := range fds {
		mine := slices.ContainsFunc(own, func(o probe.FD) bool { return o.Num == fd.Num && o.Target == fd.Target })
		if mine && slices.Contains([]string{"pipe", "unix", "udp", "eventfd", "timerfd"}, fd.Kind) && readable(fd.Num) {
			s.Ready = append(s.Ready, fd)
		}
	}
}

// gained is what the counters gained from a to b.
func gained(a, b engine.Stats) engine.Stats {
	d := engine.Stats{
		Accepts: b.Accepts - a.Accepts, BytesIn: b.BytesIn - a.BytesIn, BytesOut: b.BytesOut - a.BytesOut,
		Wakeups: b.Wakeups - a.Wakeups, EAGAINs: b.EAGAINs - a.EAGAINs, ShortWrites: b.ShortWrites - a.ShortWrites,
	}
	for i := range d.Calls {
		d.Calls[i] = b.Calls[i] - a.Calls[i]
	}
	return d
}

// clueLines are the clues in words.
func (s *Scene) clueLines(add func(name, format string, args ...any)) {
	if s.Untold != nil && s.Untold != s.Client {
		add("another client", "%s, to which nothing is queued, has not had the end of data either", s.Untold.Name)
	}
	for i, fd := range s.Ready {
		if i == 0 || fd.Target != s.Ready[i-1].Target {
			add("ready, and not read", "%v, which New opened", fd)
		}
	}
	if s.Client != nil && !s.Known && len(s.Strangers) > 0 {
		add("addresses", "OnOpen came for a connection whose RemoteAddr() is %v; %s is %v", address(s.Strangers[0]), s.Client.Name, s.Client.local)
	}
	if calls := callsLine(s.Moved); s.Symptom == Busy && calls != "" {
		add("in the last quarter of a second", "%d wakeups; calls: %s", s.Moved.Wakeups, calls)
	} else if s.WasReset && calls != "" {
		add("in the last tenth of a second", "%s; %d bytes out", calls, s.Moved.BytesOut)
	}
}

func address(a netip.AddrPort) string {
	if !a.IsValid() {
		return "the zero AddrPort"
	}
	return a.String()
}

func callsLine(s engine.Stats) string {
	var calls []string
	for c := range engine.NumCalls {
		if s.Calls[c] > 0 {
			calls = append(calls, fmt.Sprintf("%v %d", c, s.Calls[c]))
		}
	}
	return strings.Join(calls, ", ")
}

// panicCause is the cause of a panic, which names its place.
func (s *Scene) panicCause() *report.Cause {
	place, _, _ := strings.Cut(readerFrames(s.Stack), "\n")
	file, call, _ := strings.Cut(place, "  ")
	if file == "" {
		return nil
	}
	return &report.Cause{ID: "panic", Text: fmt.Sprintf("%s, in %s: %s", file, call, report.PanicMeaning(s.Problem)), Read: file}
}

// restate corrects what the test took for granted when the clues say otherwise.
func (s *Scene) restate() {
	if s.Client != nil && !s.Known && len(s.Strangers) > 0 && s.Symptom == CountLow {
		s.Problem = fmt.Sprintf("OnOpen should get a connection whose RemoteAddr() is the client's address, %v, but it got one with %s", s.Client.local, address(s.Strangers[0]))
	}
}

// pollProblem is the sentence on a Poll that returned err.
func pollProblem(err error) string {
	for _, errno := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, syscall.ETIMEDOUT} {
		if errors.Is(err, errno) {
			return fmt.Sprintf("Poll should go on, whatever becomes of a single connection, but returned the error %q", err)
		}
	}
	if errors.Is(err, syscall.EINTR) {
		return fmt.Sprintf("Poll should take a signal for a turn in which nothing was ready, but returned the error %q", err)
	}
	return fmt.Sprintf("Poll should return an error only when the loop cannot go on, but returned %q", err)
}

// tooEarly says of an unwritten step that the tests of an earlier one have reached it,
// which they do not when that is right.
func tooEarly(missing string, step int, stack string) string {
	_, n, _ := strings.Cut(missing, ".")
	if later, err := strconv.Atoi(n); err != nil || step == 0 || later <= step {
		return ""
	}
	text := fmt.Sprintf(". But this is a test of step %d, which is right only if it does without: look first why it was called", step)
	if frames := strings.Split(readerFrames(stack), "\n"); len(frames) > 1 {
		file, call, _ := strings.Cut(frames[1], "  ")
		text += fmt.Sprintf(" (in %s, %s)", call, file)
	}
	return text
}
