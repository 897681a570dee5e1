//go:build unix

package labtest

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var resetErrors = []error{unix.ECONNRESET, unix.EPIPE}

func setReceiveBuffer(fd uintptr, n int) {
	_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, n)
}

// SetSendBuffer makes the send buffer of the socket fd n bytes, as nearly as the kernel
// lets one.
func SetSendBuffer(fd, n int) { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, n) }

// fileLimit is how many descriptors this process may have open.
func fileLimit() uint64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 256
	}
	return uint64(limit.Cur)
}

// Starve takes every free descriptor of the process but free ones, by opening a
// file again and again under a lowered limit, and returns the function that gives
// them back. A test that uses it must not open anything itself meanwhile.
func (l *Lab) Starve(free int) (release func()) {
	l.t.Helper()
	l.Did("the process has %d free descriptors left (RLIMIT_NOFILE)", free)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		l.t.Fatal(err)
	}
	top, err := unix.Dup(0)
	if err != nil {
		l.t.Fatal(err)
	}
	low := old
	assign(&low.Cur, top+free+1)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		l.t.Fatal(err)
	}
	fillers := []int{top}
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		fillers = append(fillers, fd)
	}
	for range min(free, len(fillers)) {
		unix.Close(fillers[len(fillers)-1])
		fillers = fillers[:len(fillers)-1]
	}
	done := false
	release = func() {
		if done {
			return
		}
		done = true
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		for _, fd := range fillers {
			unix.Close(fd)
		}
	}
	l.release = release
	l.t.Cleanup(release)
	return release
}

// Raise opens descriptors until the next one is n or higher, and returns the
// function that closes them.
func (l *Lab) Raise(n int) (release func()) {
	l.t.Helper()
	if limit := fileLimit(); limit < uint64(n)+64 {
		l.Unavailable("this needs %d descriptors and the limit is %d: raise it (ulimit -n %d) and run again", n+64, limit, n+64)
	}
	l.Did("the process opens so many descriptors that the next is %d or more", n)
	var fds []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			l.t.Fatal(err)
		}
		fds = append(fds, fd)
		if fd >= n-1 {
			break
		}
	}
	done := false
	release = func() {
		if !done {
			done = true
			for _, fd := range fds {
				unix.Close(fd)
			}
		}
	}
	l.t.Cleanup(release)
	return release
}

// PlugBelow takes every free descriptor below end, so that its number is the next
// that the kernel gives out when it is closed, and returns the function that frees
// them.
func PlugBelow(end int) (unplug func()) {
	var plugs []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			break
		}
		if fd > end {
			unix.Close(fd)
			break
		}
		plugs = append(plugs, fd)
	}
	return func() {
		for _, fd := range plugs {
			unix.Close(fd)
		}
	}
}

// readable tells whether fd, of this process, has something to be read.
func readable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0 && p[0].Revents&unix.POLLIN != 0
}

// Steal reads away what has arrived on the socket fd, which may be in blocking mode, and
// tells whether there was anything.
func Steal(fd int) bool {
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
	return err == nil && n > 0
}

// Interrupt sends the loop's thread n signals of the kind that Go's scheduler uses,
// a millisecond apart. What it returns is closed when the last is sent.
func (l *Lab) Interrupt(n int) (sent <-chan struct{}) {
	l.Did("the thread of the loop gets %d signals (SIGURG) while Poll waits", n)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range n {
			time.Sleep(time.Millisecond)
			signalThread(l.loop.tid)
		}
	}()
	return done
}

// OnGoHeap tells whether p is memory of Go's garbage collector: in the same 4 GiB as other
// memory from there, which no mapping of another kind comes near.
func OnGoHeap(p []byte) bool {
	other := make([]byte, 1<<16)
	return uint64(uintptr(unsafe.Pointer(&p[0])))>>32 == uint64(uintptr(unsafe.Pointer(&other[0])))>>32
}

// assign sets a limit, whose type differs among systems.
func assign[T int64 | uint64](limit *T, n int) { *limit = T(n) }

// ShutDown ends what the listening socket fd can receive, as another process that shares
// it may, and tells whether that was possible.
func ShutDown(fd int) bool { return unix.Shutdown(fd, unix.SHUT_RD) == nil }

// Stuff writes zeros to the TCP socket fd until its send buffer is full, and returns how
// many it took; none if fd is none. A full one has room again when the peer's kernel moves
// together what it holds, and when it takes what it had dropped and is sent again: only
// one that has taken nothing for half a second is full.
func Stuff(fd int) (n int) {
	zeros := make([]byte, 64<<10)
	for last := time.Now(); fd >= 0 && time.Since(last) < 500*time.Millisecond; {
		m, err := unix.SendmsgN(fd, zeros, nil, nil, unix.MSG_DONTWAIT)
		switch {
		case m > 0:
			n += m
			last = time.Now()
		case err == unix.EAGAIN:
			time.Sleep(5 * time.Millisecond)
		case err != unix.EINTR:
			return n
		}
	}
	return n
}

// SendUrgent sends one byte of urgent data (MSG_OOB). A read of the server stops short
// before it, and it is not part of the stream (unless SO_OOBINLINE makes it one).
func (c *Client) SendUrgent(b byte) {
	c.l.t.Helper()
	c.l.Did("%s sends an urgent byte (MSG_OOB)", c.Name)
	raw, err := c.conn.SyscallConn()
	if err != nil {
		c.l.t.Fatal(err)
	}
	if ctlErr := raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte{b}, unix.MSG_OOB, nil) }); ctlErr != nil || err != nil {
		c.l.t.Fatal("urgent data cannot be sent: ", errors.Join(ctlErr, err))
	}
}

// Raw is the client's socket without Go's poller, for benchmarks: its calls wait in
// the kernel.
func (c *Client) Raw() *Raw {
	f, err := c.conn.File()
	if err != nil {
		c.l.t.Fatal(err)
	}
	unix.SetNonblock(int(f.Fd()), false)
	return &Raw{file: f, fd: int(f.Fd())}
}

// Raw is a blocking socket.
type Raw struct {
	file *os.File
	fd   int
	b    [1]byte
}

// Write1 sends one byte.
func (r *Raw) Write1() { unix.Write(r.fd, r.b[:]) }

// Read1 waits for one byte.
func (r *Raw) Read1() { unix.Read(r.fd, r.b[:]) }

// Close closes the socket.
func (r *Raw) Close() { r.file.Close() }

// UnderWine tells whether this system is Wine.
func UnderWine() bool { return false }
