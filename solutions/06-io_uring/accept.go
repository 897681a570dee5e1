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

// peerAddr is where an accept that is not multishot puts the client's address.
type peerAddr struct {
	addr [28]byte // struct sockaddr_in6, the longest it can be
	len  uint32
}

// armAccept has the kernel accept: for ever, or once for each of several submissions.
func (e *Engine) armAccept() {
	if e.features.Has(MultishotAccept) {
		if e.accepts == 0 {
			e.acceptOne(0)
		}
		return
	}
	for i := range acceptsAtOnce {
		if e.accepts&(1<<i) == 0 {
			e.acceptOne(i)
		}
	}
}

// acceptOne prepares accept number i. One that is not multishot has a place for the
// client's address.
func (e *Engine) acceptOne(i int) {
	e.accepts |= 1 << i
	sqe := e.prepare(opAccept, abi.IORING_OP_ACCEPT, nil, e.listener)
	sqe.OpFlags, sqe.UserData = unix.SOCK_CLOEXEC, uint64(tokenOf(opAccept, 0, i))
	if e.features.Has(MultishotAccept) {
		sqe.Ioprio = abi.IORING_ACCEPT_MULTISHOT
		return
	}
	peer := &e.shared.peers[i]
	peer.len = uint32(len(peer.addr))
	sqe.Addr, sqe.Off = addrOf(&peer.addr), addrOf(&peer.len)
	if e.features.Has(Direct) {
		sqe.OpFlags, sqe.FileIndex = 0, abi.IORING_FILE_INDEX_ALLOC // no descriptor, nothing to inherit
	}
}

// accepted is a completion of accept number i: a descriptor, or why there is none.
func (e *Engine) accepted(i, fd int, more bool) {
	if fd >= 0 {
		e.failed = 0
		e.open(fd, e.peerOf(i, fd))
	}
	if more {
		return
	}
	e.accepts &^= 1 << i
	if fd < 0 {
		switch errno := unix.Errno(-fd); errno {
		case unix.ECANCELED, unix.EAGAIN, unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM, unix.EOPNOTSUPP, unix.ENOPROTOOPT,
			unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET:
			// What accept(2) passes on of a connection that failed while it waited (EPERM is
			// a firewall's) says nothing of the next one; many in a row are not the clients'.
			if e.failed++; e.failed == mostFailed {
				e.park(errno)
			}
		default:
			e.park(errno)
		}
	}
	switch {
	case e.closed:
	case e.draining && e.accepts == 0:
		e.closeListener()
	case !e.draining && e.parked.IsZero():
		e.acceptOne(i)
	}
}

// peerOf is the address of the client that accept number i has just brought. A multishot
// accept has nowhere to put so many, so it has to be asked for.
func (e *Engine) peerOf(i, fd int) (peer netip.AddrPort) {
	if !e.features.Has(MultishotAccept) {
		return e.shared.peers[i].decode()
	}
	e.stats.Calls[engine.CallGetpeername]++
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return peer // it has reset already
	}
	return sock.AddrPort(sa)
}

func (p *peerAddr) decode() netip.AddrPort {
	port := uint16(p.addr[2])<<8 | uint16(p.addr[3])
	if p.len < uint32(len(p.addr)) {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(p.addr[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(p.addr[8:24])).Unmap(), port)
}

func (e *Engine) open(fd int, peer netip.AddrPort) {
	if e.closed || e.draining || !peer.IsValid() {
		e.closeFD(fd)
		return
	}
	if n := e.port.Connections.Add(1); e.cfg.MaxConnections > 0 && n > int64(e.cfg.MaxConnections) {
		e.refuse(fd)
		return
	}
	id := e.port.LastID.Add(1)
	for id&generationMask == 0 {
		id = e.port.LastID.Add(1) // generation 0 is the engine's own
	}
	c := &conn{Identity: engine.NewIdentity(id, peer), e: e, fd: fd, active: e.tick, first: none, last: none, buffer: none}
	for fd >= len(e.conns) {
		e.conns = append(e.conns, nil)
	}
	e.conns[fd] = c
	e.stats.Connections++
	e.stats.Accepts++
	e.armRecv(c)
	e.handler.OnOpen(c)
}

func (e *Engine) refuse(fd int) {
	e.port.Connections.Add(-1)
	e.stats.Refused++
	e.closeFD(fd)
}

// park stops accepting: there are no descriptors left, or what fails now would fail again at
// once. Clients wait in the accept queue.
func (e *Engine) park(errno unix.Errno) {
	switch {
	case e.features.Has(Direct) && errno == unix.ENFILE:
		e.stats.Refused++ // the table is full, and the kernel has accepted and closed
	case e.parked.IsZero():
		e.stats.Parked++
	}
	if e.parked.IsZero() {
		e.failed, e.parked = 0, e.now.Add(acceptRetry)
	}
}

// unpark accepts again when a connection has closed, or after acceptRetry:
// descriptors come free elsewhere in the process too.
func (e *Engine) unpark() {
	if e.parked.IsZero() || e.now.Before(e.parked) || e.draining {
		return
	}
	e.parked = time.Time{}
	e.armAccept()
}
