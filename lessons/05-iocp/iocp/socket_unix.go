//go:build unix

package iocp

import (
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine/sock"
)

// socket is a socket: a non-blocking descriptor, and what is in flight on it.
type socket struct {
	fd         int
	family     int // unix.AF_INET or AF_INET6
	overlapped bool
	port       *port
	key        uintptr
	modes      uint8

	bound, listening, connected bool
	// known is whether the socket knows what it is connected to, which after AcceptEx
	// and ConnectEx it does not until it is told.
	known    bool
	sendOver bool  // shutdown(SD_SEND)
	recvOver bool  // shutdown(SD_RECEIVE)
	finDue   bool  // the end of data is to follow what is in flight
	err      Errno // the connection is lost: what every operation gets from now on
	closed   bool
	spare    int // of a listener: a descriptor to make room with, or -1

	file    *os.File // for waiting in the Go runtime's poller; nil until something has to wait
	raw     syscall.RawConn
	in, out direction
}

// direction is what is in flight on a socket in one direction, oldest first: receives
// and accepts, or sends and connects.
type direction struct {
	ops     []*op
	waiting bool // a goroutine waits for the descriptor
}

// WSAStartup begins the use of Winsock. Nothing works before it.
func WSAStartup(verreq uint32, data *WSAData) error {
	kernel.Lock()
	defer kernel.Unlock()
	kernel.started++
	data.Version, data.HighVersion = uint16(verreq), 0x202
	return nil
}

// WSACleanup ends it.
func WSACleanup() error {
	kernel.Lock()
	defer kernel.Unlock()
	kernel.started--
	return nil
}

// WSASocket makes a socket.
func WSASocket(af int32, typ int32, protocol int32, protoInfo *WSAProtocolInfo, group uint32, flags uint32) (Handle, error) {
	kernel.Lock()
	defer kernel.Unlock()
	if kernel.started == 0 {
		return InvalidHandle, Errno(10093) // WSANOTINITIALISED
	}
	family := unix.AF_INET
	switch {
	case af == AF_INET6:
		family = unix.AF_INET6
	case af != AF_INET:
		return InvalidHandle, WSAEAFNOSUPPORT
	}
	if typ != SOCK_STREAM || protocol != IPPROTO_TCP && protocol != 0 {
		return InvalidHandle, WSAEOPNOTSUPP
	}
	fd, err := newSocket(unix.SOCK_STREAM, family)
	if err != nil {
		return InvalidHandle, winsock(err)
	}
	if flags&WSA_FLAG_NO_HANDLE_INHERIT == 0 {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	if family == unix.AF_INET6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) // Windows' default
	}
	kernel.sockets[Handle(fd)] = &socket{fd: fd, family: family, overlapped: flags&WSA_FLAG_OVERLAPPED != 0, spare: -1}
	return Handle(fd), nil
}

// Closesocket closes s. What is in flight on it ends with ERROR_OPERATION_ABORTED.
func Closesocket(h Handle) error {
	kernel.Lock()
	s := kernel.sockets[h]
	if s == nil {
		kernel.Unlock()
		return WSAENOTSOCK
	}
	delete(kernel.sockets, h)
	s.closed = true
	s.cancel(nil)
	// File.Close waits for the goroutines that wait for the descriptor, and they want the
	// lock. But the number must not be free before it is out of the table, as it is now.
	kernel.Unlock()
	if s.spare >= 0 {
		unix.Close(s.spare)
	}
	if s.file != nil {
		return failed(s.file.Close())
	}
	return failed(unix.Close(s.fd))
}

// Bind is bind. As on Windows a port with connections in TIME_WAIT can be bound.
func Bind(fd Handle, sa Sockaddr) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[fd]
	if s == nil {
		return WSAENOTSOCK
	}
	if s.bound {
		return WSAEINVAL
	}
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(s.fd, unixSockaddr(sa)); err != nil {
		return winsock(err)
	}
	s.bound = true
	return nil
}

func unixSockaddr(sa Sockaddr) unix.Sockaddr {
	switch sa := sa.(type) {
	case *SockaddrInet4:
		return &unix.SockaddrInet4{Port: sa.Port, Addr: sa.Addr}
	case *SockaddrInet6:
		return &unix.SockaddrInet6{Port: sa.Port, Addr: sa.Addr, ZoneId: sa.ZoneId}
	}
	return nil
}

// Listen is listen.
func Listen(h Handle, backlog int) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case !s.bound:
		return WSAEINVAL
	case s.connected:
		return WSAEISCONN
	}
	if err := unix.Listen(s.fd, min(backlog, 1<<15)); err != nil {
		return winsock(err)
	}
	s.listening = true
	if s.spare < 0 {
		s.spare = spare()
	}
	return nil
}

// Getsockname is getsockname.
func Getsockname(fd Handle) (Sockaddr, error) { return name(fd, unix.Getsockname) }

// Getpeername is getpeername.
func Getpeername(fd Handle) (Sockaddr, error) { return name(fd, unix.Getpeername) }

func name(h Handle, call func(int) (unix.Sockaddr, error)) (Sockaddr, error) {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	switch {
	case s == nil:
		return nil, WSAENOTSOCK
	case s.connected && !s.known:
		return nil, WSAENOTCONN
	case !s.connected && !s.bound:
		return nil, WSAEINVAL
	}
	sa, err := call(s.fd)
	if err != nil {
		return nil, winsock(err)
	}
	return sockaddr(sock.AddrPort(sa)), nil
}

// Setsockopt is setsockopt, for options whose value is a handle or a 32-bit number.
func Setsockopt(h Handle, level, optname int32, optval *byte, optlen int32) error {
	if level == SOL_SOCKET && optname == SO_UPDATE_CONNECT_CONTEXT {
		return update(h, InvalidHandle)
	}
	if optval == nil {
		return WSAEFAULT
	}
	if level == SOL_SOCKET && optname == SO_UPDATE_ACCEPT_CONTEXT {
		if uintptr(optlen) != unsafe.Sizeof(Handle(0)) {
			return WSAEFAULT
		}
		return update(h, *(*Handle)(unsafe.Pointer(optval))) // optlen says that it is one
	}
	if optlen < 4 {
		return WSAEFAULT
	}
	return SetsockoptInt(h, int(level), int(optname), int(*(*int32)(unsafe.Pointer(optval)))) // optlen says that it is one
}

// update is SO_UPDATE_ACCEPT_CONTEXT, and with InvalidHandle SO_UPDATE_CONNECT_CONTEXT.
func update(h, listener Handle) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	if s == nil {
		return WSAENOTSOCK
	}
	if listener != InvalidHandle {
		if l := kernel.sockets[listener]; l == nil || !l.listening {
			return WSAENOTSOCK
		}
	}
	if !s.connected {
		return WSAENOTCONN
	}
	s.known = true
	return nil
}

// SetsockoptInt is setsockopt for options that are a number.
func SetsockoptInt(h Handle, level, opt, value int) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	if s == nil {
		return WSAENOTSOCK
	}
	switch {
	case level == IPPROTO_TCP && opt == TCP_NODELAY:
		return failed(unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, value))
	case level != SOL_SOCKET:
	case opt == SO_EXCLUSIVEADDRUSE:
		if s.bound {
			return WSAEINVAL
		}
		return nil // what Linux does anyway: nobody can take a port that is listened on
	case opt == SO_REUSEADDR:
		return nil // see Bind
	case opt == SO_SNDBUF:
		return failed(unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, value))
	case opt == SO_RCVBUF:
		return failed(unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, value))
	}
	return WSAENOPROTOOPT
}

// SetsockoptLinger is setsockopt for SO_LINGER.
func SetsockoptLinger(h Handle, level, opt int, l *Linger) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case level != SOL_SOCKET || opt != SO_LINGER:
		return WSAENOPROTOOPT
	}
	return failed(unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: l.Onoff, Linger: l.Linger}))
}

// Shutdown ends one direction of a connection, or both. The end of data (SD_SEND) follows
// what is in flight.
func Shutdown(fd Handle, how int) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[fd]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case !s.connected || !s.known:
		return WSAENOTCONN
	case how < SD_RECEIVE || how > SD_BOTH:
		return WSAEINVAL
	case s.err != 0:
		return s.err
	}
	if how != SD_SEND {
		s.recvOver = true
	}
	if how != SD_RECEIVE && !s.sendOver {
		s.sendOver, s.finDue = true, true
		return s.fin()
	}
	return nil
}

// fin sends the end of data if it is due and nothing is in flight before it.
func (s *socket) fin() error {
	if !s.finDue || len(s.out.ops) > 0 || s.closed {
		return nil
	}
	s.finDue = false
	if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
		return s.lose(err)
	}
	return nil
}

// lose notes the error of a lost connection, which stays: this system tells it once, and
// Windows whoever asks.
func (s *socket) lose(err error) Errno {
	e := winsock(err)
	switch e {
	case WSAECONNRESET, WSAECONNABORTED, WSAETIMEDOUT, WSAEHOSTUNREACH, WSAENETUNREACH:
		s.err = e
	case WSAENOTCONN:
		if s.connected {
			e, s.err = WSAECONNRESET, WSAECONNRESET
		}
	}
	return e
}

// SetFileCompletionNotificationModes sets modes of a handle, which cannot be taken back.
func SetFileCompletionNotificationModes(handle Handle, flags uint8) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[handle]
	switch {
	case s == nil:
		return ERROR_INVALID_HANDLE
	case flags&^(FILE_SKIP_COMPLETION_PORT_ON_SUCCESS|FILE_SKIP_SET_EVENT_ON_HANDLE) != 0:
		return ERROR_INVALID_PARAMETER
	}
	s.modes |= flags
	return nil
}

// CancelIoEx asks for the end of the operation o on s, or of all if o is nil: they
// complete with ERROR_OPERATION_ABORTED. It fails with ERROR_NOT_FOUND if there is none.
func CancelIoEx(h Handle, o *Overlapped) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	if s == nil {
		return ERROR_INVALID_HANDLE
	}
	if !s.cancel(o) {
		return ERROR_NOT_FOUND
	}
	return nil
}

func (s *socket) cancel(ov *Overlapped) (found bool) {
	for _, d := range []*direction{&s.in, &s.out} {
		var rest []*op
		var ended []*op
		for _, o := range d.ops {
			if ov == nil || o.at == uintptr(unsafe.Pointer(ov)) {
				ended = append(ended, o)
			} else {
				rest = append(rest, o)
			}
		}
		d.ops = rest
		for _, o := range ended {
			found = true
			o.finish(o.moved, ERROR_OPERATION_ABORTED, false)
		}
	}
	_ = s.fin()
	return found
}

// WSAGetOverlappedResult tells what has become of the operation o: ERROR_IO_INCOMPLETE
// while it is in flight, unless wait is set.
func WSAGetOverlappedResult(h Handle, o *Overlapped, bytes *uint32, wait bool, flags *uint32) error {
	kernel.Lock()
	defer kernel.Unlock()
	if kernel.sockets[h] == nil {
		return WSAENOTSOCK
	}
	for o.Internal == statusPending {
		if !wait {
			return ERROR_IO_INCOMPLETE
		}
		kernel.done.Wait()
	}
	*bytes, *flags = uint32(o.InternalHigh), 0
	return winsockError(o.Internal)
}

// launch starts an operation and tries it at once. Its result is nil if it is done, with
// the number of bytes, ERROR_IO_PENDING if it goes on, and its own error if it has failed,
// of which the port will not hear.
func (s *socket) launch(d *direction, o *op, ov *Overlapped, receives bool) (int, error) {
	o.s, o.port, o.key = s, s.port, s.key
	if v := kernel.violation; v != nil {
		kernel.violation = nil
		panic(v)
	}
	o.start(ov, receives)
	if len(d.ops) == 0 {
		done, n, err := o.try(o)
		if done && err != nil {
			o.finish(0, err, true)
			return 0, err
		}
		if done {
			skip := s.modes&FILE_SKIP_COMPLETION_PORT_ON_SUCCESS != 0
			if !skip {
				o.remember() // it stays the kernel's until its completion is dequeued
			}
			o.finish(n, nil, skip)
			return n, nil
		}
		if o.s != s {
			return 0, ERROR_IO_PENDING // it goes on elsewhere
		}
	}
	o.remember()
	d.ops = append(d.ops, o)
	s.wait(d)
	return 0, ERROR_IO_PENDING
}

// wait sees to it that somebody waits for the descriptor.
func (s *socket) wait(d *direction) {
	if d.waiting || len(d.ops) == 0 || s.closed {
		return
	}
	if s.file == nil {
		s.file = os.NewFile(uintptr(s.fd), "socket")
		s.raw, _ = s.file.SyscallConn()
	}
	d.waiting = true
	wait := s.raw.Read
	if d == &s.out {
		wait = s.raw.Write
	}
	go func() {
		// It calls the function at once, and again whenever the descriptor becomes ready,
		// until the function says that it is enough.
		_ = wait(func(uintptr) bool {
			kernel.Lock()
			defer kernel.Unlock()
			s.progress(d)
			d.waiting = len(d.ops) > 0
			return !d.waiting
		})
	}()
}

// progress does what can be done.
func (s *socket) progress(d *direction) {
	for len(d.ops) > 0 {
		o := d.ops[0]
		done, n, err := o.try(o)
		if !done && o.s == s {
			return
		}
		d.ops = d.ops[1:]
		if done {
			o.finish(n, err, false)
		}
	}
	if d == &s.out {
		_ = s.fin()
	}
}

// Settle lets everything that is in flight and can be done be done, before it returns.
// It is for tests that do not want to wait for goroutines.
func Settle() {
	kernel.Lock()
	defer kernel.Unlock()
	for _, s := range kernel.sockets {
		s.progress(&s.in)
		s.progress(&s.out)
	}
}

// Pending is what is in flight on a socket and not done yet, oldest first: the calls that
// started it. It is for reports; known is false if h is no socket of the emulation.
func Pending(h Handle) (calls []string, known bool) {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	if s == nil {
		return nil, false
	}
	for _, d := range []*direction{&s.in, &s.out} {
		for _, o := range d.ops {
			calls = append(calls, o.call)
		}
	}
	return calls, true
}

// usable says what is wrong with s for an operation on a connection.
func (s *socket) usable() error {
	switch {
	case !s.connected:
		return WSAENOTCONN
	case s.err != 0:
		return s.err
	}
	return nil
}

// WSARecv receives into bufs. It is done when there is anything, which may be less than
// there is room for; 0 bytes are the end of data, unless there was no room: a receive of 0
// bytes is done when another would not have to wait.
func WSARecv(h Handle, bufs *WSABuf, bufcnt uint32, recvd *uint32, flags *uint32, overlapped *Overlapped, croutine *byte) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case croutine != nil || overlapped == nil:
		return WSAEOPNOTSUPP
	case flags == nil || bufcnt > 0 && bufs == nil:
		return WSAEFAULT
	case s.recvOver:
		return WSAESHUTDOWN
	}
	if err := s.usable(); err != nil && s.err == 0 {
		return err
	}
	o := &op{call: "WSARecv", bufs: regions(bufs, bufcnt), try: tryReceive}
	n, err := s.launch(&s.in, o, overlapped, true)
	if err == nil && recvd != nil {
		*recvd = uint32(n)
	}
	return err
}

// regions are the program's buffers. The array that describes them is not needed any more
// when the call returns.
func regions(bufs *WSABuf, count uint32) []region {
	var all []region
	for _, b := range unsafe.Slice(bufs, count) { // the caller's array, which is this long
		all = append(all, lend(b.Buf, int(b.Len)))
	}
	return all
}

func tryReceive(o *op) (done bool, n int, err error) {
	s := o.s
	room := false
	for i := range o.bufs {
		r := &o.bufs[i]
		if r.len == 0 {
			continue
		}
		room = true
		b, v := o.check(r)
		if v != nil {
			kernel.broken(o, v)
			return true, n, ERROR_OPERATION_ABORTED
		}
		m, err := sock.Read(s.fd, b)
		switch {
		case n > 0 && (err != nil || m == 0):
			return true, n, nil // the next receive will hear of it
		case err == unix.EAGAIN && s.err == 0:
			return false, 0, nil
		case err == unix.EAGAIN, err == nil && m == 0 && s.err != 0:
			return true, 0, s.err
		case err != nil:
			return true, 0, s.lose(err)
		}
		r.pieces = nil // it is being written to now
		if n += m; m < len(b) {
			return true, n, nil
		}
	}
	if room {
		return true, n, nil
	}
	var peek [1]byte
	_, _, err = unix.Recvfrom(s.fd, peek[:], unix.MSG_PEEK)
	switch {
	case err == unix.EAGAIN && s.err == 0, err == unix.EINTR:
		return false, 0, nil
	case err != nil && s.err == 0:
		return true, 0, s.lose(err)
	case s.err != 0:
		return true, 0, s.err
	}
	return true, 0, nil
}

// WSASend sends what is in bufs, in this order. It is done when all of it is sent (which
// means: copied by the kernel), or the connection is lost.
func WSASend(h Handle, bufs *WSABuf, bufcnt uint32, sent *uint32, flags uint32, overlapped *Overlapped, croutine *byte) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case croutine != nil || overlapped == nil:
		return WSAEOPNOTSUPP
	case bufcnt > 0 && bufs == nil:
		return WSAEFAULT
	case s.sendOver:
		return WSAESHUTDOWN
	}
	if err := s.usable(); err != nil {
		return err
	}
	o := &op{call: "WSASend", bufs: regions(bufs, bufcnt), try: trySend}
	n, err := s.launch(&s.out, o, overlapped, false)
	if err == nil && sent != nil {
		*sent = uint32(n)
	}
	return err
}

func trySend(o *op) (done bool, n int, err error) {
	s := o.s
	if s.err != 0 {
		return true, o.moved, s.err
	}
	off := o.moved
	for i := range o.bufs {
		r := &o.bufs[i]
		if off >= r.len {
			off -= r.len
			continue
		}
		b := r.bytes()
		if b == nil {
			_, v := o.check(r)
			kernel.broken(o, v)
			return true, o.moved, ERROR_OPERATION_ABORTED
		}
		for off < r.len {
			piece, ok := r.piece(b, off)
			if !ok {
				kernel.broken(o, o.changed())
				return true, o.moved, ERROR_OPERATION_ABORTED
			}
			m, err := sock.Write(s.fd, piece)
			switch {
			case err == unix.EAGAIN:
				return false, 0, nil
			case err != nil:
				return true, o.moved, s.lose(err)
			}
			off += m
			o.moved += m
		}
		off = 0
	}
	return true, o.moved, nil
}

// addressRoom is what AcceptEx needs for an address more than the address itself.
const addressRoom = 16

// AcceptEx accepts the next connection on ls as as, a socket that is not bound. buf gets
// the first rxdatalen bytes that the client sends, for which AcceptEx waits if rxdatalen is
// not 0, and then both addresses.
func AcceptEx(ls Handle, as Handle, buf *byte, rxdatalen uint32, laddrlen uint32, raddrlen uint32, recvd *uint32, overlapped *Overlapped) error {
	kernel.Lock()
	defer kernel.Unlock()
	l, a := kernel.sockets[ls], kernel.sockets[as]
	least := uint32(addressRoom + 16)
	if l != nil && l.family == unix.AF_INET6 {
		least = addressRoom + 28
	}
	switch {
	case l == nil || a == nil:
		return WSAENOTSOCK
	case overlapped == nil:
		return WSAEOPNOTSUPP
	case !l.listening, a.bound, a.connected, a.listening, laddrlen < least, raddrlen < least:
		return WSAEINVAL
	case buf == nil:
		return WSAEFAULT
	}
	a.bound = true // it is taken
	o := &op{call: "AcceptEx", bufs: []region{lend(buf, int(rxdatalen+laddrlen+raddrlen))}}
	o.try = func(o *op) (bool, int, error) { return tryAccept(o, l, a, int(rxdatalen), int(laddrlen)) }
	n, err := l.launch(&l.in, o, overlapped, true)
	if err == nil && recvd != nil {
		*recvd = uint32(n)
	}
	return err
}

func tryAccept(o *op, l, a *socket, data, laddr int) (done bool, n int, err error) {
	if a.closed {
		return true, 0, ERROR_OPERATION_ABORTED
	}
	b, v := o.check(&o.bufs[0])
	if v != nil {
		kernel.broken(o, v)
		return true, 0, ERROR_OPERATION_ABORTED
	}
	fd, peer, err := l.accept()
	switch err {
	case nil:
	case unix.EAGAIN:
		return false, 0, nil
	default:
		a.bound = false
		return true, 0, winsock(err)
	}
	flags, _ := unix.FcntlInt(uintptr(a.fd), unix.F_GETFD, 0)
	err = moveTo(fd, a.fd, flags)
	unix.Close(fd)
	if l.spare < 0 {
		l.spare = spare()
	}
	if err != nil {
		return true, 0, winsock(err)
	}
	a.connected = true
	local, _ := unix.Getsockname(a.fd)
	put := func() {
		o.bufs[0].pieces = nil // it is being written to now
		clear(b)
		putRaw(b[data:], sock.AddrPort(local))
		putRaw(b[data+laddr:], peer)
	}
	if data == 0 {
		put()
		return true, 0, nil
	}
	// The client is accepted, and the operation goes on until it has sent something. The
	// next AcceptEx does not wait for that.
	o.s, o.try = a, func(o *op) (bool, int, error) {
		if b, v = o.check(&o.bufs[0]); v != nil {
			kernel.broken(o, v)
			return true, 0, ERROR_OPERATION_ABORTED
		}
		first := make([]byte, data)
		n, err := sock.Read(a.fd, first)
		switch err {
		case nil:
			put()
			copy(b, first[:n])
			return true, n, nil
		case unix.EAGAIN:
			return false, 0, nil
		}
		return true, 0, a.lose(err)
	}
	if done, n, err := o.try(o); done {
		return true, n, err
	}
	if o.bufs[0].pieces == nil {
		o.remember()
	}
	a.in.ops = append(a.in.ops, o)
	a.wait(&a.in)
	return false, 0, nil
}

// accept takes the next connection from the accept queue. If there is no descriptor left
// it makes room with the spare one: the socket that the connection is going to be has one.
func (s *socket) accept() (fd int, peer netip.AddrPort, err error) {
	for {
		fd, peer, err = sock.AcceptOnce(s.fd)
		switch err {
		case unix.EINTR, unix.ECONNABORTED:
			continue
		case unix.EMFILE, unix.ENFILE:
			if s.spare >= 0 {
				unix.Close(s.spare)
				fd, peer, err = sock.AcceptOnce(s.fd)
				s.spare = -1
			}
		}
		return fd, peer, err
	}
}

// spare is a descriptor that is good for nothing but to be closed.
func spare() int {
	fd, err := newSocket(unix.SOCK_DGRAM, unix.AF_INET)
	if err != nil {
		return -1
	}
	return fd
}

// GetAcceptExSockaddrs finds the two addresses in what AcceptEx has put into buf.
func GetAcceptExSockaddrs(buf *byte, rxdatalen uint32, laddrlen uint32, raddrlen uint32, lrsa **RawSockaddrAny, lrsalen *int32, rrsa **RawSockaddrAny, rrsalen *int32) {
	// The caller's buffer, which is as long as the three lengths say. It must be long
	// enough for a RawSockaddrAny at either place.
	*lrsa = (*RawSockaddrAny)(unsafe.Add(unsafe.Pointer(buf), rxdatalen))
	*rrsa = (*RawSockaddrAny)(unsafe.Add(unsafe.Pointer(buf), rxdatalen+laddrlen))
	*lrsalen, *rrsalen = int32(laddrlen)-addressRoom, int32(raddrlen)-addressRoom
}

// ConnectEx connects fd, which must be bound, and then sends the sendDataLen bytes at
// sendBuf, if any.
func ConnectEx(fd Handle, sa Sockaddr, sendBuf *byte, sendDataLen uint32, bytesSent *uint32, overlapped *Overlapped) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[fd]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case overlapped == nil:
		return WSAEOPNOTSUPP
	case s.connected:
		return WSAEISCONN
	case !s.bound || s.listening:
		return WSAEINVAL
	}
	o := &op{call: "ConnectEx", bufs: []region{lend(sendBuf, int(sendDataLen))}}
	begun := false
	o.try = func(o *op) (bool, int, error) {
		if s.connected {
			return trySend(o)
		}
		err := error(nil)
		if !begun {
			begun = true
			err = unix.Connect(s.fd, unixSockaddr(sa))
		} else if n, getErr := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); getErr != nil {
			err = getErr
		} else if n != 0 {
			err = syscall.Errno(n)
		} else if _, getErr := unix.Getpeername(s.fd); getErr != nil {
			err = unix.EINPROGRESS
		}
		switch err {
		case nil:
			s.connected = true
			return trySend(o)
		case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
			return false, 0, nil
		}
		return true, 0, winsock(err)
	}
	n, err := s.launch(&s.out, o, overlapped, false)
	if err == nil && bytesSent != nil {
		*bytesSent = uint32(n)
	}
	return err
}

// DisconnectEx sends the end of data after what is in flight, and is done when it is sent.
// The emulation cannot use the socket again (TF_REUSE_SOCKET).
func DisconnectEx(h Handle, overlapped *Overlapped, flags uint32, reserved uint32) error {
	kernel.Lock()
	defer kernel.Unlock()
	s := kernel.sockets[h]
	switch {
	case s == nil:
		return WSAENOTSOCK
	case flags != 0 || overlapped == nil:
		return WSAEOPNOTSUPP
	case !s.connected || !s.known:
		return WSAENOTCONN
	}
	o := &op{call: "DisconnectEx", try: func(o *op) (bool, int, error) {
		if s.sendOver {
			return true, 0, nil
		}
		s.sendOver = true
		if err := unix.Shutdown(s.fd, unix.SHUT_WR); err != nil {
			return true, 0, s.lose(err)
		}
		return true, 0, nil
	}}
	_, err := s.launch(&s.out, o, overlapped, false)
	return err
}
