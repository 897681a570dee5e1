package kqueue

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// file is what a descriptor names: the number alone may by now be another's.
type file struct{ dev, ino uint64 }

func fileOf(fd int) (file, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return file{}, err
	}
	return file{uint64(st.Dev), st.Ino}, nil
}

// gone tells whether kn's descriptor has been closed. Nobody tells us of that, and epoll
// forgets a file only when its last descriptor is closed, so a duplicate (in a child, or
// in this process) keeps an entry alive for a number that may be another file's by now. A
// knote must not outlive its descriptor: each event is checked here, and each change by
// epoll_ctl, which compares the files themselves. An inode tells sockets apart and pipes;
// not the two ends of one pipe, nor two eventfds.
func (kn *knote) gone() bool {
	f, err := fileOf(int(kn.ident))
	return err != nil || f != kn.file
}

// control is epoll_ctl(2). The entry's data is fd, or a tag, and a generation.
func control(epfd, op, fd int, events uint32, tag, generation int32) error {
	// It does not block. The kernel copies the event before it returns; it is on this
	// stack, alive and in place during the call (package unsafe, rule 4).
	ev := unix.EpollEvent{Events: events, Fd: tag, Pad: generation}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epfd), uintptr(op), uintptr(fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// instanceOf is the epoll instance that watches knotes of filter.
func (q *queue) instanceOf(filter int16) int {
	if filter == EVFILT_WRITE {
		return q.writes
	}
	return q.kq
}

// knotesOf is the table of knotes of filter.
func (q *queue) knotesOf(filter int16) *[]*knote {
	if filter == EVFILT_WRITE {
		return &q.writers
	}
	return &q.readers
}

func (q *queue) control(op int, kn *knote) error {
	return control(q.instanceOf(kn.filter), op, int(kn.ident), kn.interest(), int32(kn.ident), kn.generation)
}

// interest is kn in epoll's words.
func (kn *knote) interest() uint32 {
	if kn.disabled {
		return unix.EPOLLONESHOT // and EPOLLERR and EPOLLHUP, which come unasked: but once
	}
	var events uint32 = unix.EPOLLIN | unix.EPOLLRDHUP
	if kn.filter == EVFILT_WRITE {
		events = unix.EPOLLOUT
	}
	switch {
	case kn.hasMark():
		// Epoll knows nothing of the mark: each arrival is an edge, at which we look.
		events |= unix.EPOLLET
	case kn.flags&(EV_ONESHOT|EV_DISPATCH) != 0:
		events |= unix.EPOLLONESHOT
	case kn.flags&EV_CLEAR != 0:
		events |= unix.EPOLLET
	}
	return events
}

func (kn *knote) hasMark() bool { return kn.fflags&NOTE_LOWAT != 0 }

// changeDescriptor applies a change of EVFILT_READ or EVFILT_WRITE.
func (q *queue) changeDescriptor(k *Kevent_t) error {
	table := q.knotesOf(k.Filter)
	if k.Ident > 1<<30 {
		return unix.EBADF
	}
	fd := int(k.Ident)
	var kn *knote
	if fd < len(*table) {
		kn = (*table)[fd]
	}
	if kn != nil && k.Flags&EV_DELETE != 0 {
		err := q.control(unix.EPOLL_CTL_DEL, kn)
		q.forget(kn)
		return err // ENOENT: the descriptor was closed and is another file's
	}
	if kn != nil {
		changed := *kn
		changed.set(k)
		changed.fflags, changed.data = k.Fflags, k.Data
		err := q.control(unix.EPOLL_CTL_MOD, &changed)
		if err == nil {
			*kn = changed
			return nil
		}
		q.forget(kn) // its descriptor was closed
		if err != unix.ENOENT {
			return err
		}
	}
	if k.Flags&EV_ADD == 0 {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			return err
		}
		return unix.ENOENT
	}
	f, err := fileOf(fd)
	if err != nil {
		return err
	}
	q.generation++
	kn = &knote{identFilter: identFilter{k.Ident, k.Filter}, flags: k.Flags & kept, fflags: k.Fflags, data: k.Data, generation: q.generation, file: f}
	kn.set(k)
	err = q.control(unix.EPOLL_CTL_ADD, kn)
	if err == unix.EEXIST { // a ghost, of a descriptor that was closed and opened again with dup2
		err = q.control(unix.EPOLL_CTL_MOD, kn)
	}
	switch err {
	case nil:
	case unix.EPERM:
		return notCovered("a filter on descriptor %d, a regular file or a folder,", fd)
	default:
		return err
	}
	for fd >= len(*table) {
		*table = append(*table, make([]*knote, fd+1-len(*table))...)
	}
	(*table)[fd] = kn
	return nil
}

// forget drops the knote of a descriptor.
func (q *queue) forget(kn *knote) { (*q.knotesOf(kn.filter))[kn.ident] = nil }

// report makes k the event of a descriptor's knote that epoll has told of, unless there is
// none after all.
func (q *queue) report(table []*knote, ev *unix.EpollEvent, k *Kevent_t) bool {
	var kn *knote
	if int(ev.Fd) < len(table) {
		kn = table[ev.Fd]
	}
	switch {
	case kn == nil || kn.generation != ev.Pad:
		q.stray(ev.Pad)
		return false
	case kn.disabled:
		return false
	case kn.gone():
		q.forget(kn)
		q.haunted = true
		return false
	case kn.scan == q.scan: // not twice in one call
		if kn.interest()&unix.EPOLLET != 0 {
			_ = q.control(unix.EPOLL_CTL_MOD, kn) // this edge is used up
		}
		return false
	}
	kn.fill(k)
	ready := false
	if kn.filter == EVFILT_READ {
		ready = kn.readable(ev.Events, k)
	} else {
		ready = kn.writable(ev.Events, k)
	}
	if ready {
		kn.scan = q.scan
	}
	oneshot := kn.interest()&unix.EPOLLONESHOT != 0
	switch {
	case !ready:
		if oneshot {
			_ = q.control(unix.EPOLL_CTL_MOD, kn) // epoll has used it up
		}
	case kn.flags&EV_ONESHOT != 0:
		_ = q.control(unix.EPOLL_CTL_DEL, kn)
		q.forget(kn)
	case kn.flags&EV_DISPATCH != 0:
		kn.disabled = true
		if !oneshot {
			_ = q.control(unix.EPOLL_CTL_MOD, kn)
		}
	case kn.hasMark() && kn.flags&EV_CLEAR == 0:
		_ = q.control(unix.EPOLL_CTL_MOD, kn) // level-triggered above the mark: look again
	}
	return ready
}

// stray notes what epoll told of and no knote has. The knote was deleted while this was on
// its way; or its descriptor was closed and a duplicate keeps epoll's entry alive, which
// then comes again.
func (q *queue) stray(generation int32) {
	q.haunted = q.haunted || q.strays[generation] || len(q.strays) >= 64
	q.strays[generation] = true
}

// rebuild gives the queue new epoll instances, without the entries that no descriptor
// names any more and that report for ever. The number stays.
func (q *queue) rebuild() {
	q.haunted = false
	clear(q.strays)
	kq, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return // out of descriptors: the ghosts cost time, and are dropped one by one
	}
	defer unix.Close(kq)
	writes, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	unix.Close(q.writes)
	q.writes = writes
	_ = q.watchOwn(kq)
	for _, kn := range q.readers {
		if kn != nil && (kn.gone() || control(kq, unix.EPOLL_CTL_ADD, int(kn.ident), kn.interest(), int32(kn.ident), kn.generation) != nil) {
			q.forget(kn)
		}
	}
	for _, kn := range q.writers {
		if kn != nil && (kn.gone() || q.control(unix.EPOLL_CTL_ADD, kn) != nil) {
			q.forget(kn)
		}
	}
	_ = unix.Dup3(kq, q.kq, unix.O_CLOEXEC)
	q.instance++
	q.lagging = q.waiting
	q.clearPoke()
}

// readable is the filter EVFILT_READ: events is what epoll said.
func (kn *knote) readable(events uint32, k *Kevent_t) bool {
	fd := int(kn.ident)
	n, errno := unread(fd)
	switch errno {
	case 0:
	case unix.EINVAL: // a listener has no bytes, but connections
		if waiting, ok := acceptQueue(fd); ok {
			k.Data = waiting
			return waiting >= kn.mark()
		}
		n = 1
	default: // what can be read but does not say how much: a queue, an eventfd, a terminal
		n = 1
	}
	k.Data = n
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.Flags |= EV_EOF
		k.Fflags = socketError(fd, events)
		return true
	}
	if n == 0 && !kn.hasMark() {
		// Somebody else has read it away; or it is an empty datagram, or urgent data.
		return polled(fd, unix.POLLIN)
	}
	return n >= kn.mark()
}

// mark is how much there has to be.
func (kn *knote) mark() int64 {
	if kn.hasMark() {
		return kn.data
	}
	return 1
}

// writable is the filter EVFILT_WRITE.
func (kn *knote) writable(events uint32, k *Kevent_t) bool {
	fd := int(kn.ident)
	ended := false
	k.Data, ended = sendSpace(fd)
	if ended || events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		k.Flags |= EV_EOF
		k.Fflags = socketError(fd, events)
		return true
	}
	return events&unix.EPOLLOUT != 0 && k.Data >= kn.mark()
}

// unread is the number of bytes that have come and are not read.
func unread(fd int) (int64, unix.Errno) {
	var n int32
	// It does not block; n is on this stack, alive and in place during the call.
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCINQ, uintptr(unsafe.Pointer(&n)))
	return int64(n), errno
}

func acceptQueue(fd int) (int64, bool) {
	const listen = 10 // TCP_LISTEN
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil || info.State != listen {
		return 0, false
	}
	return int64(info.Unacked), true // what ss(8) shows as the Recv-Q of a listener
}

// sendSpace is the room in fd's send buffer, and whether this side has ended its output.
func sendSpace(fd int) (space int64, ended bool) {
	const sndbuf, wmemAlloc, wmemQueued, vars = 3, 2, 5, 9 // SK_MEMINFO_…
	var mem [vars]uint32
	size := uint32(unsafe.Sizeof(mem))
	// It does not block; mem and size are on this stack, alive and in place during the call.
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&mem)), uintptr(unsafe.Pointer(&size)), 0)
	if errno == 0 {
		space = int64(mem[sndbuf]) - int64(max(mem[wmemQueued], mem[wmemAlloc]))
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			ended = info.State >= 4 && info.State != 8 && info.State != 10 // FIN_WAIT1 and after; not CLOSE_WAIT, not LISTEN
		}
	} else if size, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err == nil {
		n, _ := unread(fd)
		space = int64(size) - n
	}
	return max(space, 1), ended // epoll says that there is room
}

// socketError is the socket's error, as far as it can be told without taking it away.
func socketError(fd int, events uint32) uint32 {
	if events&unix.EPOLLERR == 0 {
		return 0
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	switch {
	case err != nil:
		return 0
	case info.Rtt == 0: // the peer never answered
		return uint32(unix.ECONNREFUSED)
	default:
		return uint32(unix.ECONNRESET)
	}
}

// polled asks poll(2) whether fd is ready for events.
func polled(fd int, events int16) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&events != 0
}
