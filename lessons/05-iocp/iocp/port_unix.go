//go:build unix

package iocp

import (
	"fmt"
	"sync"
	"time"
	"unsafe"
	"weak"
)

// kernel is the state behind all handles. One lock guards all of it: the calls made under
// it are on non-blocking descriptors.
var kernel = kernelState{
	sockets: map[Handle]*socket{}, ports: map[Handle]*port{}, lastPort: 1 << 30,
	inFlight: map[uintptr]*op{}, receiving: map[uintptr]*op{},
}

type kernelState struct {
	sync.Mutex
	started   int // WSAStartup less WSACleanup
	sockets   map[Handle]*socket
	ports     map[Handle]*port
	lastPort  Handle
	inFlight  map[uintptr]*op // by the address of the OVERLAPPED
	receiving map[uintptr]*op // by the address of the buffer
	done      *sync.Cond      // an operation has ended
	violation *Violation      // of an operation without a port
}

func init() { kernel.done = sync.NewCond(&kernel) }

// port is a completion port.
type port struct {
	handle  Handle
	packets []packet
	waiters []chan struct{} // the last to come is woken first
	closed  bool
	// violation is what the next call that waits panics with.
	violation *Violation
}

// packet is a completion in a port's queue.
type packet struct {
	key    uintptr
	n      uint32
	status uintptr
	op     *op                      // nil for one that PostQueuedCompletionStatus has queued
	posted weak.Pointer[Overlapped] // and what came with that
	has    bool                     // posted is not NULL
}

func (p *port) queue(c packet) {
	p.packets = append(p.packets, c)
	p.wake()
}

func (p *port) wake() {
	if n := len(p.waiters); n > 0 {
		close(p.waiters[n-1])
		p.waiters = p.waiters[:n-1]
	}
}

// broken notes a violation that no call of the program's has led to.
func (k *kernelState) broken(o *op, v *Violation) {
	o.broken = true
	if o.port == nil {
		kernel.violation = v
		return
	}
	if o.port.violation == nil {
		o.port.violation = v
	}
	o.port.wake()
}

// CreateIoCompletionPort makes a port if cphandle is 0, and associates filehandle with it
// unless that is InvalidHandle: the completions of its operations come to the port with
// key. threadcnt, how many threads the port lets run at once, is taken and not enforced:
// a goroutine has no thread.
func CreateIoCompletionPort(filehandle Handle, cphandle Handle, key uintptr, threadcnt uint32) (Handle, error) {
	kernel.Lock()
	defer kernel.Unlock()
	p := kernel.ports[cphandle]
	if cphandle != 0 && p == nil {
		return 0, ERROR_INVALID_HANDLE
	}
	var s *socket
	if filehandle != InvalidHandle {
		if s = kernel.sockets[filehandle]; s == nil {
			return 0, ERROR_INVALID_HANDLE
		}
		if s.port != nil || !s.overlapped {
			return 0, ERROR_INVALID_PARAMETER
		}
	} else if p != nil {
		return 0, ERROR_INVALID_PARAMETER
	}
	if p == nil {
		kernel.lastPort += 4
		p = &port{handle: kernel.lastPort}
		kernel.ports[p.handle] = p
	}
	if s != nil {
		s.port, s.key = p, key
	}
	return p.handle, nil
}

// GetQueuedCompletionStatus waits for a completion, at most timeout milliseconds. Its
// error is that of the operation if *overlapped is not nil afterwards, else its own.
func GetQueuedCompletionStatus(cphandle Handle, qty *uint32, key *uintptr, overlapped **Overlapped, timeout uint32) error {
	var entry [1]OverlappedEntry
	*overlapped = nil
	if _, err := dequeue(cphandle, entry[:], timeout); err != nil {
		return err
	}
	*qty, *key, *overlapped = entry[0].Bytes, entry[0].Key, entry[0].Overlapped
	return windowsError(entry[0].Internal)
}

// GetQueuedCompletionStatusEx waits for completions, at most timeout milliseconds, and
// gives as many as there are, up to count. A failed operation is no error here: its
// entry's Internal is its status.
func GetQueuedCompletionStatusEx(cphandle Handle, entries *OverlappedEntry, count uint32, removed *uint32, timeout uint32, alertable bool) error {
	*removed = 0
	if count == 0 {
		return ERROR_INVALID_PARAMETER
	}
	// The caller's array, which is this long and stays where it is until the call returns.
	n, err := dequeue(cphandle, unsafe.Slice(entries, count), timeout)
	*removed = uint32(n)
	return err
}

func dequeue(handle Handle, entries []OverlappedEntry, timeout uint32) (int, error) {
	kernel.Lock()
	defer kernel.Unlock()
	p := kernel.ports[handle]
	if p == nil {
		return 0, ERROR_INVALID_HANDLE
	}
	var alarm <-chan time.Time
	if timeout != INFINITE && timeout > 0 {
		timer := time.NewTimer(time.Duration(timeout) * time.Millisecond)
		defer timer.Stop()
		alarm = timer.C
	}
	for len(p.packets) == 0 {
		p.complain()
		switch {
		case p.closed:
			return 0, ERROR_ABANDONED_WAIT_0
		case timeout == 0:
			return 0, WAIT_TIMEOUT
		}
		woken := make(chan struct{})
		p.waiters = append(p.waiters, woken)
		kernel.Unlock()
		late := false
		select {
		case <-woken:
		case <-alarm:
			late = true
		}
		kernel.Lock()
		if late && !p.forget(woken) {
			late = false // woken at the same moment: look once more, and wake the next if that was in vain
		}
		if late && len(p.packets) == 0 {
			timeout = 0
		}
	}
	p.complain()
	n := 0
	for n < len(entries) && len(p.packets) > 0 {
		c := p.packets[0]
		p.packets = p.packets[1:]
		e := OverlappedEntry{Key: c.key, Internal: c.status, Bytes: c.n}
		switch {
		case c.op != nil:
			c.op.leave()
			for i := range c.op.bufs {
				// What was sent, or was never filled, is to be as it was until now.
				if _, v := c.op.check(&c.op.bufs[i]); v != nil {
					p.violation = v
					p.complain()
				}
			}
			if e.Overlapped = c.op.ov.Value(); e.Overlapped == nil {
				p.violation = c.op.released()
				p.complain()
			}
		case c.has:
			if e.Overlapped = c.posted.Value(); e.Overlapped == nil {
				p.violation = &Violation{"overlapped-released", "the garbage collector took an OVERLAPPED that PostQueuedCompletionStatus had queued: keep it reachable until it is dequeued"}
				p.complain()
			}
		}
		entries[n] = e
		n++
	}
	if len(p.packets) > 0 {
		p.wake() // there is something for another waiter
	}
	return n, nil
}

// complain panics with what the port has to complain of.
func (p *port) complain() {
	if v := p.violation; v != nil {
		p.violation = nil
		panic(v) // the deferred Unlock gives the lock back
	}
}

// forget takes a waiter out, and tells whether it was still there.
func (p *port) forget(woken chan struct{}) bool {
	for i, w := range p.waiters {
		if w == woken {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return true
		}
	}
	return false
}

// PostQueuedCompletionStatus queues a completion of the program's own: the three values
// come out of the port as they are.
func PostQueuedCompletionStatus(cphandle Handle, qty uint32, key uintptr, overlapped *Overlapped) error {
	kernel.Lock()
	defer kernel.Unlock()
	p := kernel.ports[cphandle]
	if p == nil {
		return ERROR_INVALID_HANDLE
	}
	c := packet{key: key, n: qty}
	if overlapped != nil {
		c.posted, c.has = weak.Make(overlapped), true
	}
	p.queue(c)
	return nil
}

// CloseHandle closes a port. Whoever waits for it gets ERROR_ABANDONED_WAIT_0.
func CloseHandle(handle Handle) error {
	kernel.Lock()
	defer kernel.Unlock()
	p := kernel.ports[handle]
	if p == nil {
		return ERROR_INVALID_HANDLE
	}
	delete(kernel.ports, handle)
	p.closed = true
	for len(p.waiters) > 0 {
		p.wake()
	}
	pending := 0
	var example *op
	for _, o := range kernel.inFlight {
		if o.port == p {
			pending++
			example = o
			o.port = nil // they end, and nobody hears of it
			if o.finished {
				o.leave()
			}
		}
	}
	if pending > 0 {
		panic(&Violation{"port-closed", fmt.Sprintf("the completion port was closed with %d operations in flight, one of them %v: their completions are lost, and nobody can tell when their memory is free; cancel, and close the port after the last completion", pending, example)})
	}
	return nil
}
