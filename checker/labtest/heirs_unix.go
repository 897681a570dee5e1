//go:build unix

package labtest

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"iolab/checker/probe"
)

// Heirs are sockets that take the numbers of closed descriptors, as the next file that
// anybody in the process opens does. An engine that still uses a number of its own by
// mistake then uses theirs, and they notice. The zero value has taken none; any goroutine
// may use it.
type Heirs struct {
	mu   sync.Mutex
	upTo int // the highest number that is worth taking
	all  []heir
}

// heir is one end of a pair of connected sockets. The other is its neighbour in the list.
type heir struct {
	fd     int
	dev    uint64
	ino    uint64
	unread int // bytes that its neighbour has written to it
}

// Open takes the numbers that are free now, and is called when all descriptors that may
// come free are open. When the test ends they are given back.
func (h *Heirs) Open(l *Lab) {
	h.mu.Lock()
	fds, _ := probe.FDs(os.Getpid())
	for _, fd := range fds {
		h.upTo = max(h.upTo, fd.Num)
	}
	h.mu.Unlock()
	l.t.Cleanup(h.close)
	h.Take()
}

// Take takes the numbers that have come free since. Before Open it does nothing.
func (h *Heirs) Take() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.upTo > 0 {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return
		}
		if pair[0] > h.upTo && pair[1] > h.upTo {
			unix.Close(pair[0])
			unix.Close(pair[1])
			return
		}
		for _, fd := range pair {
			var stat unix.Stat_t
			unix.CloseOnExec(fd)
			_ = unix.SetNonblock(fd, true)
			_ = unix.Fstat(fd, &stat)
			h.all = append(h.all, heir{fd: fd, dev: uint64(stat.Dev), ino: stat.Ino})
		}
		h.write()
	}
}

// write has the heirs of the last pair write a byte to each other.
func (h *Heirs) write() {
	for i := len(h.all) - 2; i < len(h.all); i++ {
		if n, _ := unix.Write(h.all[i].fd, []byte{'.'}); n == 1 {
			h.all[i^1].unread++
		}
	}
}

// here tells whether the heir's number is still its own.
func (h heir) here() bool {
	var stat unix.Stat_t
	return unix.Fstat(h.fd, &stat) == nil && uint64(stat.Dev) == h.dev && stat.Ino == h.ino
}

// Harm says what somebody has done to an heir, empty if nothing.
func (h *Heirs) Harm() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, heir := range h.all {
		if !heir.here() {
			return fmt.Sprintf("descriptor %d, somebody else's by now, was closed", heir.fd)
		}
	}
	buf := make([]byte, 256)
	for i, heir := range h.all {
		n, _, err := unix.Recvfrom(heir.fd, buf, unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if err != nil {
			n = 0
		}
		switch {
		case n > heir.unread:
			return fmt.Sprintf("%d bytes were written to descriptor %d, somebody else's by now", n-heir.unread, h.all[i^1].fd)
		case n < heir.unread:
			return fmt.Sprintf("descriptor %d, somebody else's by now, was read", heir.fd)
		}
		if _, err := unix.Write(h.all[i^1].fd, nil); err == unix.EPIPE {
			return fmt.Sprintf("descriptor %d or %d, somebody else's by now, was shut down", heir.fd, h.all[i^1].fd)
		}
	}
	return ""
}

func (h *Heirs) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, heir := range h.all {
		if heir.here() {
			unix.Close(heir.fd)
		}
	}
	h.all, h.upTo = nil, 0
}
