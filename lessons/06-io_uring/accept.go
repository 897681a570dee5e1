//go:build linux

package uringloop

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
	"iolab/lessons/engine/sock"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{abi.IORING_OP_ACCEPT, sock.AddrPort, time.Now, unix.EMFILE}

// peerAddr is where an accept that is not multishot puts the client's address.
type peerAddr struct {
	addr [28]byte // struct sockaddr_in6, the longest it can be
	len  uint32
}

// armAccept has the kernel accept: for ever, or once for each of several submissions.
//
// TODO step 5: acceptOne for each accept that is not under way: number 0 alone if it is
// multishot.
func (e *Engine) armAccept() {
	panic(engine.NotImplemented("06.5", "Engine.armAccept"))
}

// acceptOne prepares accept number i. One that is not multishot has a place for the
// client's address.
//
// TODO step 5: note that it is under way, and prepare it: close-on-exec, multishot or with
// a place for the address. In its token i takes the place of the descriptor (set UserData once
// more): accepted and cancelOwn know it by that. With Direct the connection gets a place in the
// ring's table (IORING_FILE_INDEX_ALLOC), and SOCK_CLOEXEC is left out: it has no descriptor to
// inherit, and both together are EINVAL.
func (e *Engine) acceptOne(i int) {
	panic(engine.NotImplemented("06.5", "Engine.acceptOne"))
}

// accepted is a completion of accept number i: a descriptor, or why there is none.
//
// TODO step 6: open the connection, if there is one. If the accept does not go on, start
// it again: unless it would fail at once again (park), or nobody is to be accepted any more.
// Which errors are only those of the client that would have been next, accept(2) lists; and
// ECANCELED, EAGAIN and EINTR are no failures of accept's. If mostFailed of them come in a
// row it is not the clients: park.
func (e *Engine) accepted(i, fd int, more bool) {
	panic(engine.NotImplemented("06.6", "Engine.accepted"))
}

// peerOf is the address of the client that accept number i has just brought. A multishot
// accept has nowhere to put so many, so it has to be asked for.
//
// TODO step 6: the address that the accept brought, or getpeername(2) (count it). The
// client may be gone already.
func (e *Engine) peerOf(i, fd int) (peer netip.AddrPort) {
	panic(engine.NotImplemented("06.6", "Engine.peerOf"))
}

func (p *peerAddr) decode() netip.AddrPort {
	port := uint16(p.addr[2])<<8 | uint16(p.addr[3])
	if p.len < uint32(len(p.addr)) {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.addr[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p.addr[8:24])).Unmap(), port)
}

// TODO step 6: close what is too late, or has no address any more. Count it in
// e.port.Connections, which all rings on the port share, and refuse what is too many (refuse
// counts it out again). Else make the conn: its ID from e.port.LastID (none whose generation is
// 0, the engine's own), no buffers yet (first, last and buffer are none). Note it under its
// descriptor, start its receive and tell the handler.
func (e *Engine) open(fd int, peer netip.AddrPort) {
	panic(engine.NotImplemented("06.6", "Engine.open"))
}

func (e *Engine) refuse(fd int) {
	e.port.Connections.Add(-1)
	e.stats.Refused++
	e.closeFD(fd)
}

// park stops accepting: there are no descriptors left, or what fails now would fail again at
// once. Clients wait in the accept queue.
//
// TODO step 9: unless it is set, set the time at which to try again, and count that in
// Stats.Parked. A full table (Direct, ENFILE) is no want of descriptors, and the kernel has
// accepted and closed: there count each client in Stats.Refused instead.
func (e *Engine) park(errno unix.Errno) {
	panic(engine.NotImplemented("06.9", "Engine.park"))
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
//
// TODO step 9: when that time has come, accept again, unless Shutdown has begun.
func (e *Engine) unpark() {
	if !e.parked.IsZero() {
		panic(engine.NotImplemented("06.9", "Engine.unpark"))
	}
}
