package kqueue_test

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"iolab/lessons/04-kqueue/kqueue"
)

// FuzzManual makes changes, moves bytes and fetches events in the order that its input
// says, and compares what comes with a model: the rules of the manual, as simple as they
// can be written. Where the manual leaves it open whether an event comes (an EV_CLEAR
// knote that is changed while it is ready, say), the model allows both.
//
//	go test -fuzz FuzzManual -fuzztime 1m -parallel 1 ./lessons/04-kqueue/kqueue
func FuzzManual(f *testing.F) {
	f.Add([]byte{0, 0, 1, 1, 0, 5, 6, 7, 2, 0, 3, 6, 7})
	f.Add([]byte{0, 0, 0x21, 1, 0, 5, 6, 7, 1, 0, 5, 6, 7, 3, 0, 6, 7})
	f.Add([]byte{0, 0, 0x81, 1, 0, 5, 6, 7, 6, 7, 0, 0, 4, 6, 7, 4, 0, 1, 0, 9, 6, 7})
	f.Add([]byte{0, 10, 1, 6, 7, 3, 2, 6, 7, 5, 2, 6, 7, 0, 10, 2})
	f.Add([]byte{0, 12, 0x21, 7, 0, 3, 6, 7, 6, 7, 0, 12, 8, 7, 0, 3, 6, 7, 0, 12, 4, 6, 7})
	f.Fuzz(func(t *testing.T, input []byte) {
		m := newModel(t)
		defer m.close()
		m.run(input)
	})
}

const (
	streams = 4 // pairs of sockets; the knotes are on the first of each
	pipes   = 2 // and pipes, whose readable ends are watched
	slots   = streams + pipes
	users   = 2
)

// slot is a descriptor that is watched.
type slot struct {
	fd, peer int
	unread   int
	ended    bool // the peer has ended its output
	gone     bool // the peer is closed
}

type key struct{ ident, filter int }

// modelKnote is what the manual says that a queue knows.
type modelKnote struct {
	slot     *slot // nil: a user event
	flags    int
	enabled  bool
	mark     int  // NOTE_LOWAT, 1 without it
	fresh    bool // something has happened since it was last reported
	maybe    bool // something has happened that may or may not count
	happened bool // a user event: triggered
	notes    uint32
}

type model struct {
	t      *testing.T
	kq     int
	slots  [slots]*slot
	knotes map[key]*modelKnote
	extra  []int // duplicates
	again  bool  // a descriptor was closed with a duplicate open; see the package comment
	log    []string
}

func newModel(t *testing.T) *model {
	m := &model{t: t, knotes: map[key]*modelKnote{}}
	var err error
	if m.kq, err = kqueue.Kqueue(); err != nil {
		t.Fatal(err)
	}
	for i := range m.slots {
		m.open(i)
	}
	return m
}

func (m *model) open(i int) {
	s := &slot{}
	if i < streams {
		p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			m.t.Fatal(err)
		}
		s.fd, s.peer = p[0], p[1]
	} else {
		p := []int{-1, -1}
		if err := unix.Pipe2(p, unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
			m.t.Fatal(err)
		}
		s.fd, s.peer = p[0], p[1]
	}
	m.slots[i] = s
}

func (m *model) close() {
	kqueue.Close(m.kq)
	for _, s := range m.slots {
		unix.Close(s.fd)
		if !s.gone {
			unix.Close(s.peer)
		}
	}
	for _, fd := range m.extra {
		unix.Close(fd)
	}
}

func (m *model) did(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) fatal(format string, args ...any) {
	m.t.Helper()
	for _, line := range m.log {
		m.t.Log(line)
	}
	m.t.Fatalf(format, args...)
}

func (m *model) run(input []byte) {
	next := func() int {
		if len(input) == 0 {
			return 0
		}
		b := input[0]
		input = input[1:]
		return int(b)
	}
	for n := 0; len(input) > 0 && n < 300; n++ {
		switch op := next() % 9; op {
		case 0, 8:
			m.change(next(), next(), op == 8)
		case 1:
			m.write(m.slots[next()%slots], 1+next()%64)
		case 2:
			m.read(m.slots[next()%slots], 1+next()%64)
		case 3:
			m.end(next() % slots)
		case 4:
			m.reopen(next()%slots, false)
		case 5:
			m.reopen(next()%slots, true)
		case 6:
			m.fetch(1 + next()%8)
		case 7:
			m.trigger(next()%users, next())
		}
	}
	m.fetch(32)
	m.fetch(32)
}

// change makes a change. target says which descriptor and filter, or which user event;
// bits are the flags.
func (m *model) change(target, bits int, marked bool) {
	flags := bits & (add | remove | enable | disable | oneshot | edge | kqueue.EV_DISPATCH)
	if flags&(enable|disable) == enable|disable {
		flags &^= disable
	}
	target %= 2*slots + users
	var k key
	var s *slot
	switch {
	case target < slots:
		s = m.slots[target]
		k = key{s.fd, read}
	case target < 2*slots:
		s = m.slots[target-slots]
		k = key{s.fd, write}
		if target-slots >= streams {
			return // the readable end of a pipe cannot be written to
		}
	default:
		k = key{target - 2*slots, evfiltUser}
	}
	mark, fflags := 1, int64(0)
	if marked && k.filter == read {
		mark, fflags = 1+bits%16, kqueue.NOTE_LOWAT
	}
	kn := m.knotes[k]
	var want error
	if kn == nil && flags&add == 0 {
		want = unix.ENOENT
	}
	if kn == nil && flags&(add|remove) == add|remove {
		flags &^= remove
	}
	_, err := kqueue.Kevent(m.kq, []kqueue.Kevent_t{change(k.ident, k.filter, flags, fflags, int64(mark))}, nil, nil)
	m.did("change %v flags %#x mark %d: %v", k, flags, mark, err)
	if err != want {
		m.fatal("it should return %v", want)
	}
	switch {
	case want != nil:
		return
	case flags&remove != 0:
		delete(m.knotes, k)
		return
	case kn == nil:
		kn = &modelKnote{slot: s, flags: flags, fresh: true}
		m.knotes[k] = kn
	}
	kn.mark = mark
	kn.maybe = true
	switch {
	case flags&disable != 0:
		kn.enabled = false
	case flags&(add|enable) != 0:
		kn.enabled = true
	}
}

func (m *model) write(s *slot, n int) {
	if s.ended {
		return
	}
	got, err := unix.Write(s.peer, make([]byte, n))
	m.did("write %d bytes for %d: %v", got, s.fd, err)
	if err != nil {
		return // full
	}
	s.unread += got
	m.touch(s, read)
}

func (m *model) read(s *slot, n int) {
	got, err := unix.Read(s.fd, make([]byte, n))
	m.did("read %d bytes of %d: %v", got, s.fd, err)
	if err == nil {
		s.unread -= got
	}
}

// touch notes that something has happened to a knote of s.
func (m *model) touch(s *slot, filter int) {
	if kn := m.knotes[key{s.fd, filter}]; kn != nil {
		kn.fresh = true
	}
}

// end ends the peer's output: first that alone, then the peer is closed.
func (m *model) end(i int) {
	s := m.slots[i]
	switch {
	case s.gone:
		return
	case !s.ended && i < streams:
		unix.Shutdown(s.peer, unix.SHUT_WR)
	default:
		unix.Close(s.peer)
		s.gone = true
		m.touch(s, write)
	}
	m.did("the peer of %d ends: closed %v", s.fd, s.gone)
	s.ended = true
	m.touch(s, read)
}

// reopen closes a descriptor, on purpose without a word to the queue, and opens another.
func (m *model) reopen(i int, keep bool) {
	s := m.slots[i]
	if keep && len(m.extra) < 64 {
		if fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, 200); err == nil {
			m.extra = append(m.extra, fd)
			m.again = true
			if !s.gone { // let it be readable, for ever
				unix.Write(s.peer, []byte{1})
			}
		}
	}
	unix.Close(s.fd)
	if !s.gone {
		unix.Close(s.peer)
	}
	delete(m.knotes, key{s.fd, read})
	delete(m.knotes, key{s.fd, write})
	m.open(i)
	m.did("close %d (duplicate kept: %v), open %d", s.fd, keep, m.slots[i].fd)
}

func (m *model) trigger(id, bits int) {
	fflags := int64(noteTrigger)
	note := uint32(bits)
	switch bits % 4 {
	case 1:
		fflags |= noteFFCopy
	case 2:
		fflags |= noteFFOr
	case 3:
		fflags |= noteFFAnd
	}
	kn := m.knotes[key{id, evfiltUser}]
	var want error
	if kn == nil {
		want = unix.ENOENT
	}
	_, err := kqueue.Kevent(m.kq, []kqueue.Kevent_t{change(id, evfiltUser, 0, fflags|int64(note))}, nil, nil)
	m.did("trigger %d with %#x: %v", id, fflags|int64(note), err)
	if err != want {
		m.fatal("it should return %v", want)
	}
	if kn == nil {
		return
	}
	switch bits % 4 {
	case 1:
		kn.notes = note
	case 2:
		kn.notes |= note
	case 3:
		kn.notes &= note
	}
	kn.happened = true
}

// holds tells whether kn's condition holds.
func (kn *modelKnote) holds(filter int) bool {
	switch filter {
	case evfiltUser:
		return kn.happened
	case write:
		return true // so few bytes are moved that there is room always
	}
	return kn.slot.ended || kn.slot.unread >= kn.mark
}

// due tells whether kn must be reported, and whether it may be.
func (kn *modelKnote) due(filter int) (must, may bool) {
	switch {
	case !kn.enabled || !kn.holds(filter):
		return false, false
	case filter == evfiltUser || kn.flags&edge == 0:
		return true, true
	case filter == write: // and each read of the peer may tell of room again
		return kn.fresh, true
	}
	return kn.fresh, kn.fresh || kn.maybe
}

// fetch takes events and compares them with what must and what may come.
func (m *model) fetch(room int) {
	events := make([]kqueue.Kevent_t, room)
	n, err := kqueue.Kevent(m.kq, nil, events, &kqueue.Timespec{})
	if err != nil {
		m.fatal("kevent: %v", err)
	}
	events = events[:n]
	m.did("fetch with room for %d: %s", room, show(events...))
	musts := 0
	for k, kn := range m.knotes {
		if must, _ := kn.due(k.filter); must {
			musts++
		}
	}
	seen := map[key]bool{}
	for _, ev := range events {
		k := key{int(ev.Ident), filterOf(ev)}
		kn := m.knotes[k]
		if seen[k] || kn == nil {
			m.fatal("%v should not be reported twice, nor without a knote", k)
		}
		seen[k] = true
		must, may := kn.due(k.filter)
		if !may && !(m.again && kn.enabled && kn.holds(k.filter)) {
			m.fatal("%v should not be reported", k)
		}
		if must {
			musts--
		}
		m.compare(k, kn, ev)
		kn.reported(m, k)
	}
	if musts > 0 && n < room {
		m.fatal("%d more should be reported, and there was room", musts)
	}
	if musts > 0 {
		return
	}
	for k, kn := range m.knotes {
		if !seen[k] && kn.enabled && !kn.holds(k.filter) {
			kn.fresh, kn.maybe = false, false // it was looked at, and dropped
		}
	}
}

func (m *model) compare(k key, kn *modelKnote, ev kqueue.Kevent_t) {
	switch k.filter {
	case read:
		if int(ev.Data) != kn.slot.unread || eof(ev) != kn.slot.ended {
			m.fatal("%v has %d bytes, ended %v", k, kn.slot.unread, kn.slot.ended)
		}
	case write:
		if ev.Data <= 0 || eof(ev) != kn.slot.gone {
			m.fatal("%v should have room, ended %v", k, kn.slot.gone)
		}
	default:
		if ev.Fflags != kn.notes {
			m.fatal("%v should have fflags %#x", k, kn.notes)
		}
	}
}

func (kn *modelKnote) reported(m *model, k key) {
	kn.fresh, kn.maybe = false, false
	switch {
	case kn.flags&oneshot != 0:
		delete(m.knotes, k)
		return
	case kn.flags&kqueue.EV_DISPATCH != 0:
		kn.enabled = false
	}
	if kn.flags&edge != 0 {
		kn.happened = false
	}
}
