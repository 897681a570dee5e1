//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package kqueue_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/04-kqueue/kqueue"
)

// patience is how long something that must come is waited for, and quiet how long it is
// looked whether something comes that must not.
const (
	patience = 10 * time.Second
	quiet    = 30 * time.Millisecond
)

// scene is one queue under test and what is open beside it.
type scene struct {
	t  *testing.T
	kq int
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t}
	s.kq = s.queue()
	return s
}

// queue makes a queue, closed at the end.
func (s *scene) queue() int {
	s.t.Helper()
	kq, err := kqueue.Kqueue()
	if err != nil {
		s.t.Fatal("kqueue: ", err)
	}
	s.t.Cleanup(func() { kqueue.Close(kq) })
	return kq
}

// change is a change, or an event.
func change(ident, filter, flags int, rest ...int64) kqueue.Kevent_t {
	var k kqueue.Kevent_t
	kqueue.SetKevent(&k, ident, filter, flags)
	if len(rest) > 0 {
		k.Fflags = uint32(rest[0])
	}
	if len(rest) > 1 {
		k.Data = rest[1]
	}
	return k
}

// do applies one change and wants it to work. rest is fflags and data.
func (s *scene) do(ident, filter, flags int, rest ...int64) {
	s.t.Helper()
	if err := s.try(ident, filter, flags, rest...); err != nil {
		s.t.Fatalf("kevent(%s): %v", show(change(ident, filter, flags, rest...)), err)
	}
}

// try applies one change with no room for events, and returns kevent's error.
func (s *scene) try(ident, filter, flags int, rest ...int64) error {
	_, err := kqueue.Kevent(s.kq, []kqueue.Kevent_t{change(ident, filter, flags, rest...)}, nil, nil)
	return err
}

// fails wants one change to fail with errno: as the call's error when there is no room
// for events, and as an event when there is.
func (s *scene) fails(errno unix.Errno, ident, filter, flags int) {
	s.t.Helper()
	if err := s.try(ident, filter, flags); err != errno {
		s.t.Errorf("kevent(%s) with no room for events should fail with %v, but returned %v", show(change(ident, filter, flags)), errno, err)
	}
	got := s.kevent(0, 4, change(ident, filter, flags))
	if len(got) != 1 || int(got[0].Flags)&kqueue.EV_ERROR == 0 || got[0].Data != int64(errno) {
		s.t.Errorf("kevent(%s) with room for events should give EV_ERROR with data %d (%v), but gave %s", show(change(ident, filter, flags)), int(errno), errno, show(got...))
	}
}

// kevent is the call, with room for room events. A negative timeout waits for ever.
func (s *scene) kevent(timeout time.Duration, room int, changes ...kqueue.Kevent_t) []kqueue.Kevent_t {
	s.t.Helper()
	deadline := time.Now().Add(timeout)
	events := make([]kqueue.Kevent_t, room)
	for {
		var ts *kqueue.Timespec
		if timeout >= 0 {
			spec := unix.NsecToTimespec(max(0, int64(time.Until(deadline))))
			ts = &spec
		}
		n, err := kqueue.Kevent(s.kq, changes, events, ts)
		if err == unix.EINTR { // Go's scheduler sends signals; the changes have been applied
			changes = nil
			continue
		}
		if err != nil {
			s.t.Fatalf("kevent: %v", err)
		}
		return events[:n]
	}
}

// one waits for events and wants one, which it returns.
func (s *scene) one() kqueue.Kevent_t {
	s.t.Helper()
	got := s.kevent(patience, 8)
	if len(got) != 1 {
		s.t.Fatalf("there should be one event, but there are %d: %s", len(got), show(got...))
	}
	return got[0]
}

// is wants k to be an event of ident and filter, and no error.
func (s *scene) is(k kqueue.Kevent_t, ident, filter int) kqueue.Kevent_t {
	s.t.Helper()
	if int(k.Ident) != ident || filterOf(k) != filter || int(k.Flags)&kqueue.EV_ERROR != 0 {
		s.t.Fatalf("there should be an event of %s, but it is of %s", show(change(ident, filter, 0)), show(k))
	}
	return k
}

// event waits for one event, of ident and filter.
func (s *scene) event(ident, filter int) kqueue.Kevent_t {
	s.t.Helper()
	return s.is(s.one(), ident, filter)
}

// data waits for one event, of ident and filter, with data n.
func (s *scene) data(ident, filter int, n int64) kqueue.Kevent_t {
	s.t.Helper()
	k := s.event(ident, filter)
	if k.Data != n {
		s.t.Fatalf("data should be %d, but is %d: %s", n, k.Data, show(k))
	}
	return k
}

// until waits for an event of ident and filter that ok likes, of a level-triggered knote.
func (s *scene) until(ident, filter int, what string, ok func(kqueue.Kevent_t) bool) kqueue.Kevent_t {
	s.t.Helper()
	var last kqueue.Kevent_t
	for start := time.Now(); time.Since(start) < patience; time.Sleep(time.Millisecond) {
		for _, k := range s.kevent(quiet, 8) {
			last = k
			if int(k.Ident) == ident && filterOf(k) == filter && ok(k) {
				return k
			}
		}
	}
	s.t.Fatalf("there should be an event with %s, but the last was %s", what, show(last))
	return last
}

func eof(k kqueue.Kevent_t) bool { return int(k.Flags)&kqueue.EV_EOF != 0 }

// none wants no event.
func (s *scene) none() {
	s.t.Helper()
	if got := s.kevent(quiet, 8); len(got) > 0 {
		s.t.Fatalf("there should be no event, but there are %d: %s", len(got), show(got...))
	}
}

func filterOf(k kqueue.Kevent_t) int { return int(k.Filter) }

func show(events ...kqueue.Kevent_t) string {
	if len(events) == 0 {
		return "nothing"
	}
	var all []string
	for _, k := range events {
		name := fmt.Sprint(k.Filter)
		switch filterOf(k) {
		case kqueue.EVFILT_READ:
			name = "READ"
		case kqueue.EVFILT_WRITE:
			name = "WRITE"
		case kqueue.EVFILT_TIMER:
			name = "TIMER"
		case evfiltUser:
			name = "USER"
		}
		all = append(all, fmt.Sprintf("{%d %s flags %#x fflags %#x data %d}", k.Ident, name, k.Flags, k.Fflags, k.Data))
	}
	return strings.Join(all, " ")
}

// must ends the test at an error of something that is not under test.
func (s *scene) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// closing closes fd at the end, unless that has been done.
func (s *scene) closing(fd int) *descriptor {
	d := &descriptor{s: s, fd: fd}
	s.must("fcntl", unix.SetNonblock(fd, true))
	s.t.Cleanup(d.close)
	return d
}

type descriptor struct {
	s    *scene
	fd   int
	gone bool
}

func (d *descriptor) close() {
	if !d.gone {
		d.gone = true
		unix.Close(d.fd)
	}
}

func (d *descriptor) write(n int) {
	d.s.t.Helper()
	got, err := unix.Write(d.fd, make([]byte, n))
	d.s.must("write", err)
	if got != n {
		d.s.t.Fatalf("write took %d bytes of %d", got, n)
	}
}

// read reads n bytes, as they come.
func (d *descriptor) read(n int) {
	d.s.t.Helper()
	buf := make([]byte, n)
	for start := time.Now(); n > 0; {
		got, err := unix.Read(d.fd, buf[:n])
		switch {
		case err == unix.EAGAIN && time.Since(start) < patience:
			time.Sleep(time.Millisecond)
			continue
		case err == unix.EINTR:
			continue
		case err == nil && got == 0:
			err = errors.New("end of data")
		}
		d.s.must("read", err)
		n -= got
	}
}

// fill writes until there is no room, and returns how much that was.
func (d *descriptor) fill() (total int) {
	d.s.t.Helper()
	chunk := make([]byte, 4096)
	for still := 0; still < 20; {
		n, err := unix.Write(d.fd, chunk)
		switch {
		case err == nil:
			total += n
			still = 0
		case err == unix.EAGAIN:
			// The peer's kernel takes some more, perhaps.
			still++
			time.Sleep(time.Millisecond)
		case err != unix.EINTR:
			d.s.must("write", err)
		}
	}
	return total
}

// drain reads all that comes, until nothing has come for a while.
func (d *descriptor) drain() (total int) {
	buf := make([]byte, 64<<10)
	for still := 0; still < 20; {
		n, err := unix.Read(d.fd, buf)
		switch {
		case err == nil && n > 0:
			total += n
			still = 0
		case err == unix.EINTR:
		default:
			still++
			time.Sleep(time.Millisecond)
		}
	}
	return total
}

// pipe returns the two ends of a pipe.
func (s *scene) pipe() (r, w *descriptor) {
	s.t.Helper()
	p := []int{-1, -1}
	s.must("pipe", unix.Pipe(p))
	return s.closing(p[0]), s.closing(p[1])
}

// listen returns a TCP listener on loopback, and its address.
func (s *scene) listen() (*descriptor, *unix.SockaddrInet4) {
	s.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	s.must("socket", err)
	l := s.closing(fd)
	s.must("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	s.must("listen", unix.Listen(fd, 16))
	sa, err := unix.Getsockname(fd)
	s.must("getsockname", err)
	return l, sa.(*unix.SockaddrInet4)
}

// dial connects to addr.
func (s *scene) dial(addr unix.Sockaddr) *descriptor {
	s.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	s.must("socket", err)
	for {
		if err = unix.Connect(fd, addr); err != unix.EINTR {
			break
		}
	}
	s.must("connect", err)
	return s.closing(fd)
}

// accept takes a connection from l.
func (s *scene) accept(l *descriptor) *descriptor {
	s.t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		fd, _, err := unix.Accept(l.fd)
		if err == nil {
			return s.closing(fd)
		}
		if time.Since(start) > patience {
			s.must("accept", err)
		}
	}
}

// tcp returns the two ends of a TCP connection.
func (s *scene) tcp() (a, b *descriptor) {
	s.t.Helper()
	l, addr := s.listen()
	a = s.dial(addr)
	b = s.accept(l)
	l.close()
	return a, b
}

// reset closes d so that its peer gets a reset.
func (d *descriptor) reset() {
	d.s.must("setsockopt", unix.SetsockoptLinger(d.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	d.close()
}

// trigger makes the user event id happen.
func (s *scene) trigger(id int) { s.do(id, evfiltUser, 0, noteTrigger) }

// What a behaviour needs of the kernel. Each returns why it cannot be tried, or "". Only
// for NetBSD, whose older kernels lack them, is it looked at: a system whose manual
// promises it has to have it.

func older(missing bool, what string) string {
	if runtime.GOOS == "netbsd" && missing {
		return "this kernel has no " + what + " (NetBSD has had it since version 10)"
	}
	return ""
}

func user() string {
	if noUserNames != "" {
		return noUserNames
	}
	return older(userMissing(), "EVFILT_USER")
}

var userMissing = sync.OnceValue(func() bool {
	return withQueue(func(kq int) bool {
		_, err := kqueue.Kevent(kq, []kqueue.Kevent_t{change(1, evfiltUser, kqueue.EV_ADD)}, nil, nil)
		return err != nil
	})
})

func receipt() string { return older(receiptMissing(), "EV_RECEIPT") }

var receiptMissing = sync.OnceValue(func() bool {
	return withQueue(func(kq int) bool {
		events := make([]kqueue.Kevent_t, 1)
		n, err := kqueue.Kevent(kq, []kqueue.Kevent_t{change(1, kqueue.EVFILT_TIMER, kqueue.EV_ADD|kqueue.EV_RECEIPT, 0, 60_000)}, events, &kqueue.Timespec{})
		return err != nil || n != 1
	})
})

func dispatch() string { return older(dispatchMissing(), "EV_DISPATCH") }

var dispatchMissing = sync.OnceValue(func() bool {
	return withQueue(func(kq int) bool {
		p := []int{-1, -1}
		if err := unix.Pipe(p); err != nil {
			return true
		}
		defer unix.Close(p[0])
		defer unix.Close(p[1])
		unix.Write(p[1], []byte{1})
		events := make([]kqueue.Kevent_t, 1)
		kqueue.Kevent(kq, []kqueue.Kevent_t{change(p[0], kqueue.EVFILT_READ, kqueue.EV_ADD|kqueue.EV_DISPATCH)}, events, &kqueue.Timespec{})
		n, err := kqueue.Kevent(kq, nil, events, &kqueue.Timespec{})
		return err != nil || n != 0
	})
})

func withQueue(f func(kq int) bool) bool {
	kq, err := kqueue.Kqueue()
	if err != nil {
		return true
	}
	defer kqueue.Close(kq)
	return f(kq)
}

func units() string { return noUnits }

// rearm: only some manuals say what adding a timer does that is there.
func rearm() string {
	switch runtime.GOOS {
	case "linux", "freebsd":
		return ""
	}
	return "its manual does not say what adding a timer again does"
}

var untried []string

func TestMain(m *testing.M) {
	code := m.Run()
	if len(untried) > 0 {
		fmt.Printf("%d of %d behaviours were not tried on %s:\n  %s\n", len(untried), len(behaviours), runtime.GOOS, strings.Join(untried, "\n  "))
	}
	os.Exit(code)
}

// TestManual tries what the manual pages promise, one behaviour after the other.
func TestManual(t *testing.T) {
	names := map[string]bool{}
	for _, b := range behaviours {
		if names[b.name] {
			t.Errorf("two behaviours are called %q", b.name)
		}
		names[b.name] = true
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			for _, need := range b.needs {
				if why := need(); why != "" {
					untried = append(untried, b.name+": "+why)
					t.Skip(why)
				}
			}
			defer func() {
				if t.Failed() {
					t.Logf("the manual: %s", b.says)
				}
			}()
			b.try(newScene(t))
		})
	}
}
