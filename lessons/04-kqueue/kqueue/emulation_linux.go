package kqueue

import (
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A queue is an epoll instance, whose descriptor is the program's, so that it can be
// watched like any other. What epoll has, epoll does:
//
//	kqueue                           epoll
//	a knote of EVFILT_READ           an entry of the queue's own instance: IN | RDHUP
//	a knote of EVFILT_WRITE          an entry of a second instance, which is in the first: OUT
//	level-triggered                  level-triggered
//	EV_CLEAR                         EPOLLET
//	EV_DISPATCH, EV_ONESHOT          EPOLLONESHOT
//	EV_DISABLE                       EPOLLONESHOT and no events
//	EVFILT_TIMER                     one timerfd, set to the next expiration of all timers
//	EVFILT_USER                      one eventfd, readable while a knote is active
//
// The second instance is there because the two knotes of one descriptor may differ in
// everything, and epoll has one entry for a descriptor. The rest is done here: data and
// fflags, which epoll does not tell; low water marks; and seeing that a descriptor has
// been closed (see knote.gone).

// Kevent_t is the struct kevent of kevent(2), with the fields of macOS and FreeBSD.
type Kevent_t struct {
	Ident  uint64
	Filter int16
	Flags  uint16
	Fflags uint32
	Data   int64
	Udata  *byte
}

// Timespec is how long Kevent waits at most.
type Timespec = unix.Timespec

// The filters. Those in the second group are not covered.
const (
	EVFILT_READ  = -1
	EVFILT_WRITE = -2
	EVFILT_TIMER = -7
	EVFILT_USER  = -11

	EVFILT_AIO    = -3
	EVFILT_VNODE  = -4
	EVFILT_PROC   = -5
	EVFILT_SIGNAL = -6
	EVFILT_FS     = -9
)

// Actions, flags, and what comes back.
const (
	EV_ADD      = 0x0001
	EV_DELETE   = 0x0002
	EV_ENABLE   = 0x0004
	EV_DISABLE  = 0x0008
	EV_ONESHOT  = 0x0010
	EV_CLEAR    = 0x0020
	EV_RECEIPT  = 0x0040
	EV_DISPATCH = 0x0080
	EV_ERROR    = 0x4000
	EV_EOF      = 0x8000
)

const (
	covered     = 0x00ff // the flags above that a change may have
	systemFlags = 0xf000 // those that only come back: of no meaning in a change
	kept        = EV_ONESHOT | EV_CLEAR | EV_DISPATCH
)

// Notes: of descriptors, of timers (the unit of data; milliseconds are the default), of
// user events.
const (
	NOTE_LOWAT = 0x0001

	NOTE_SECONDS  = 0x0001
	NOTE_MSECONDS = 0x0002
	NOTE_USECONDS = 0x0004
	NOTE_NSECONDS = 0x0008

	NOTE_TRIGGER    = 0x01000000
	NOTE_FFNOP      = 0x00000000
	NOTE_FFAND      = 0x40000000
	NOTE_FFOR       = 0x80000000
	NOTE_FFCOPY     = 0xc0000000
	NOTE_FFCTRLMASK = 0xc0000000
	NOTE_FFLAGSMASK = 0x00ffffff
)

// SetKevent fills in the three fields that every change has.
func SetKevent(k *Kevent_t, fd, mode, flags int) {
	k.Ident = uint64(fd)
	k.Filter = int16(mode)
	k.Flags = uint16(flags)
}

type queue struct {
	kq     int // the epoll instance that the program knows
	writes int // the one for EVFILT_WRITE
	timer  int // a timerfd
	poke   int // an eventfd

	mu         sync.Mutex
	generation int32                  // of the newest knote of a descriptor
	readers    []*knote               // by descriptor
	writers    []*knote               // by descriptor
	others     map[identFilter]*knote // timers and user events
	running    timers                 // by expiration
	armed      int64                  // what the timerfd is set to, 0: not set
	active     []*knote               // timers and user events to be reported, in order
	poked      bool                   // poke is readable
	strays     map[int32]bool         // generations that epoll has told of and no knote has
	haunted    bool                   // epoll watches files that no descriptor names any more
	scan       int                    // counts the calls that fetch events
	instance   int                    // counts the epoll instances that kq has been
	waiting    int                    // calls that wait
	lagging    int                    // those of them that wait on an earlier instance
	left       *sync.Cond             // somebody has stopped waiting
	closed     bool
}

type identFilter struct {
	ident  uint64
	filter int16
}

// knote is what a queue knows of one (ident, filter).
type knote struct {
	identFilter
	flags    uint16 // of those in kept
	fflags   uint32 // as the change said
	data     int64  // as the change said
	udata    *byte
	disabled bool
	scan     int // the call that it was last reported to

	// Of a descriptor.
	generation int32 // tells it from earlier knotes of the same number
	file       file

	// Of a timer or user event.
	queued  bool // in queue.active
	deleted bool

	triggered bool // user

	period int64 // timer, in nanoseconds
	due    int64 // when it expires next
	index  int   // in queue.running, -1 if it is not there
}

// What the entries that are no knotes have in the place of a descriptor.
const (
	tagWrites = -1 - iota
	tagTimer
	tagPoke
)

var queues = struct {
	sync.RWMutex
	open map[int]*queue
}{open: map[int]*queue{}}

// Kqueue makes a queue and returns its descriptor. The error is the bare errno.
func Kqueue() (int, error) {
	q := &queue{kq: -1, writes: -1, timer: -1, poke: -1, others: map[identFilter]*knote{}, strays: map[int32]bool{}}
	q.left = sync.NewCond(&q.mu)
	if err := q.setup(); err != nil {
		q.free()
		return -1, err
	}
	queues.Lock()
	old := queues.open[q.kq]
	queues.open[q.kq] = q
	queues.Unlock()
	if old != nil { // it was closed with close(2), and its number is ours now
		old.kq = -1
		old.free()
	}
	return q.kq, nil
}

func (q *queue) setup() (err error) {
	if q.kq, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if q.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return err
	}
	if q.poke, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return err
	}
	if q.writes, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	return q.watchOwn(q.kq)
}

// watchOwn puts the queue's own descriptors into the epoll instance kq.
func (q *queue) watchOwn(kq int) error {
	return errors.Join(
		control(kq, unix.EPOLL_CTL_ADD, q.writes, unix.EPOLLIN, tagWrites, 0),
		control(kq, unix.EPOLL_CTL_ADD, q.timer, unix.EPOLLIN, tagTimer, 0),
		control(kq, unix.EPOLL_CTL_ADD, q.poke, unix.EPOLLIN, tagPoke, 0))
}

func (q *queue) free() {
	for _, fd := range []int{q.kq, q.writes, q.timer, q.poke} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func lookup(kq int) *queue {
	queues.RLock()
	defer queues.RUnlock()
	return queues.open[kq]
}

// Close closes a queue.
func Close(kq int) error {
	queues.Lock()
	q := queues.open[kq]
	delete(queues.open, kq)
	queues.Unlock()
	if q == nil {
		return unix.EBADF
	}
	q.mu.Lock()
	q.closed = true
	q.setPoke()
	for q.waiting > 0 { // their epoll_wait would not notice that we close
		q.left.Wait()
	}
	q.mu.Unlock()
	q.free()
	return nil
}

// Kevent applies the changes, then waits for events and returns how many there are. See
// kevent(2). The error is the bare errno, or [ErrNotCovered] in a sentence.
func Kevent(kq int, changes, events []Kevent_t, timeout *Timespec) (int, error) {
	q := lookup(kq)
	if q == nil {
		return -1, unix.EBADF
	}
	if timeout != nil && (timeout.Sec < 0 || timeout.Nsec < 0 || timeout.Nsec >= 1e9) {
		return -1, unix.EINVAL
	}
	if len(changes) > 0 {
		n, err := q.change(changes, events)
		if err != nil {
			return -1, err
		}
		if n > 0 {
			return n, nil
		}
	}
	if len(events) == 0 {
		return 0, nil
	}
	return q.collect(events, timeout)
}

// change applies changes in order. Those that fail, and those with EV_RECEIPT, become
// events; without room for one that is the end, and an error is the call's.
func (q *queue) change(changes, events []Kevent_t) (n int, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return 0, unix.EBADF
	}
	defer q.arm()
	for _, k := range changes { // a copy: changes and events may be the same array
		err := q.apply(&k)
		switch {
		case errors.Is(err, ErrNotCovered):
			return 0, err
		case err == nil && k.Flags&EV_RECEIPT == 0:
			continue
		case n == len(events):
			return n, err
		}
		k.Flags, k.Data = EV_ERROR, 0
		if errno, ok := err.(unix.Errno); ok {
			k.Data = int64(errno)
		}
		events[n] = k
		n++
	}
	return n, nil
}

func (q *queue) apply(k *Kevent_t) error {
	k.Flags &^= systemFlags
	if more := k.Flags &^ covered; more != 0 {
		return notCovered("flag %#x", more)
	}
	if both := uint16(EV_ENABLE | EV_DISABLE); k.Flags&both == both {
		return unix.EINVAL
	}
	switch k.Filter {
	case EVFILT_READ, EVFILT_WRITE:
		return q.changeDescriptor(k)
	case EVFILT_TIMER:
		return q.changeTimer(k)
	case EVFILT_USER:
		return q.changeUser(k)
	case EVFILT_VNODE:
		return notCovered("EVFILT_VNODE")
	case EVFILT_PROC:
		return notCovered("EVFILT_PROC")
	case EVFILT_SIGNAL:
		return notCovered("EVFILT_SIGNAL")
	case EVFILT_AIO:
		return notCovered("EVFILT_AIO")
	case EVFILT_FS:
		return notCovered("EVFILT_FS")
	}
	return unix.EINVAL
}

func notCovered(format string, args ...any) error {
	return fmt.Errorf("kevent: %s is %w: run this on macOS or a BSD", fmt.Sprintf(format, args...), ErrNotCovered)
}

// set takes over what a change says to a knote that is there, or has just been made.
func (kn *knote) set(k *Kevent_t) {
	kn.udata = k.Udata
	switch {
	case k.Flags&EV_DISABLE != 0:
		kn.disabled = true
	case k.Flags&(EV_ADD|EV_ENABLE) != 0:
		kn.disabled = false
	}
}

// fill makes k the event of kn, but for fflags and data.
func (kn *knote) fill(k *Kevent_t) {
	*k = Kevent_t{Ident: kn.ident, Filter: kn.filter, Flags: kn.flags, Udata: kn.udata}
}

// lists keeps what epoll_wait writes into, for the next call.
var lists = sync.Pool{New: func() any { return new([]unix.EpollEvent) }}

// collect waits for events.
func (q *queue) collect(events []Kevent_t, timeout *Timespec) (int, error) {
	pooled := lists.Get().(*[]unix.EpollEvent)
	defer lists.Put(pooled)
	if len(*pooled) < len(events) {
		*pooled = make([]unix.EpollEvent, len(events))
	}
	list := (*pooled)[:len(events)]

	var deadline time.Time
	if timeout != nil && *timeout != (Timespec{}) {
		deadline = time.Now().Add(time.Duration(timeout.Nano()))
	}
	for try := 1; ; try++ {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return -1, unix.EBADF
		}
		instance := q.instance
		q.waiting++
		q.mu.Unlock()

		ready, err := wait(q.kq, list, timeout)

		q.mu.Lock()
		q.waiting--
		n, again := 0, ready > 0 // without an event, what epoll told of was none: wait on
		switch {
		case q.closed:
			q.left.Broadcast()
			err = unix.EBADF
		case instance != q.instance:
			q.lagging--
			again = true // what an earlier instance said is to be had from this one
		case ready > 0:
			n = q.fetch(list, ready, events)
		}
		q.mu.Unlock()

		switch {
		case err == unix.EINVAL: // kq was closed with close(2), and is no epoll instance any more
			return -1, unix.EBADF
		case err != nil:
			return -1, err
		case n > 0:
			return n, nil
		case timeout == nil:
		case !again, deadline.IsZero() && (ready < len(list) || try > 16):
			return 0, nil
		case !deadline.IsZero():
			left := unix.NsecToTimespec(max(int64(time.Until(deadline)), 0))
			timeout = &left
		}
	}
}

// wait is epoll_pwait2(2), which takes nanoseconds, or epoll_wait(2) on a kernel before
// 5.11, with the time rounded up.
func wait(kq int, list []unix.EpollEvent, timeout *Timespec) (int, error) {
	// list and timeout are the caller's until the call returns; unsafe.Pointer in the
	// call's arguments keeps them alive and in place for that long (package unsafe, rule 4).
	if timeout != nil && *timeout == (Timespec{}) { // it cannot block: the scheduler need not know
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(kq), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), 0, 0, 0)
		return result(n, errno)
	}
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(kq), uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), uintptr(unsafe.Pointer(timeout)), 0, 0)
	if errno != unix.ENOSYS {
		return result(n, errno)
	}
	msec := -1
	if timeout != nil {
		msec = int(min((timeout.Nano()+1e6-1)/1e6, 1<<31-1))
	}
	return unix.EpollWait(kq, list, msec)
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// fetch makes events of the first ready entries of list. If that was all there was room
// for, and some of it were no events after all, it asks epoll for more: kevent returns as
// many events as there are, and none of them twice.
func (q *queue) fetch(list []unix.EpollEvent, ready int, events []Kevent_t) int {
	q.scan++
	n, full := q.harvest(list, ready, events)
	for try := 0; try < 16 && full && n < len(events); try++ {
		list = list[:len(events)-n]
		if ready, _ = wait(q.kq, list, &Timespec{}); ready <= 0 {
			break
		}
		var more int
		more, full = q.harvest(list, ready, events[n:])
		n += more
	}
	return n
}

// harvest makes events of the first ready entries of list, which has as many places as
// events. There is room for all: each entry is one event at most, and those of the queue's
// own descriptors have as much as is left. full says that there may be more to be had.
func (q *queue) harvest(list []unix.EpollEvent, ready int, events []Kevent_t) (n int, full bool) {
	full = ready == len(list)
	var writes, timer, poke bool
	for i := range ready {
		switch ev := &list[i]; ev.Fd {
		case tagWrites:
			writes = true
		case tagTimer:
			timer = true
		case tagPoke:
			poke = true
		default:
			if q.report(q.readers, ev, &events[n]) {
				n++
			}
		}
	}
	if writes {
		list = list[:len(events)-n]
		ready, _ := wait(q.writes, list, &Timespec{})
		full = full || ready == len(list)
		for i := range max(ready, 0) {
			if q.report(q.writers, &list[i], &events[n]) {
				n++
			}
		}
	}
	if timer {
		q.expire()
	}
	if timer || poke {
		n += q.fire(events[n:])
	}
	if q.haunted {
		q.rebuild()
		full = true
	}
	return n, full
}

// activate has a timer or user event reported.
func (q *queue) activate(kn *knote) {
	if !kn.queued && !kn.disabled {
		kn.queued = true
		q.active = append(q.active, kn)
	}
}

// fire reports what is active.
func (q *queue) fire(events []Kevent_t) (n int) {
	turn := q.active
	q.active = nil
	for i, kn := range turn {
		if n == len(events) {
			q.active = append(turn[i:], q.active...) // first in, first out
			break
		}
		kn.queued = false
		switch {
		case kn.deleted || kn.disabled:
			continue
		case kn.scan == q.scan:
			q.activate(kn) // not twice in one call
			continue
		case !kn.take(q, &events[n]):
			continue
		}
		kn.scan = q.scan
		n++
		switch {
		case kn.flags&EV_ONESHOT != 0:
			q.delete(kn)
		case kn.flags&EV_DISPATCH != 0:
			kn.disabled = true
		case kn.triggered:
			q.activate(kn) // level-triggered: at the end of the line
		}
	}
	q.arm()
	q.clearPoke()
	return n
}

// take makes k the event of kn, unless there is none after all.
func (kn *knote) take(q *queue, k *Kevent_t) bool {
	kn.fill(k)
	if kn.filter == EVFILT_TIMER {
		return kn.takeTimer(q, k)
	}
	return kn.takeUser(k)
}

// delete forgets a timer or user event.
func (q *queue) delete(kn *knote) {
	kn.deleted = true
	delete(q.others, kn.identFilter)
	q.stop(kn)
}

// setPoke makes the queue readable.
func (q *queue) setPoke() {
	if !q.poked {
		q.poked = true
		one := [8]byte{1}
		_, _ = unix.Write(q.poke, one[:])
	}
}

// clearPoke makes poke say whether something is active. It stays readable for those who
// wait on an earlier instance, too: they have to come back and wait on this one.
func (q *queue) clearPoke() {
	switch more := len(q.active) > 0 || q.lagging > 0 || q.closed; {
	case more:
		q.setPoke()
	case q.poked:
		q.poked = false
		var count [8]byte
		_, _ = unix.Read(q.poke, count[:])
	}
}
