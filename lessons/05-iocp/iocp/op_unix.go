//go:build unix

package iocp

import (
	"fmt"
	"hash/maphash"
	"unsafe"
	"weak"
)

// op is an operation. It is in flight from the call that starts it until its completion
// is dequeued, or, where no completion is queued for it, until it is done.
//
//	started ──> pending ──────────> done ──> queued at the port ──> dequeued
//	   │        (in its socket's     ^                                  ^
//	   │         in or out)          │                                  │
//	   └─────────────────────────────┘                                  │
//	            at once                     skipped, or no port ────────┘
//
// The call that starts it tries it at once; from then on the goroutine of its socket's
// direction does, whenever the descriptor is ready, and CancelIoEx and Closesocket end it.
type op struct {
	call string // that started it
	s    *socket
	port *port // where its completion goes, nil if nowhere
	key  uintptr

	at   uintptr // the OVERLAPPED's address, under which it is in kernel.inFlight
	ov   weak.Pointer[Overlapped]
	bufs []region
	try  func(o *op) (done bool, n int, err error) // what it does; not done: nothing to be had yet

	moved int // bytes sent so far

	finished bool
	broken   bool // a rule was broken: the complaint takes the place of the completion
	status   uintptr
	n        int
}

func (o *op) String() string {
	if o.s == nil {
		return o.call
	}
	return fmt.Sprintf("%s on socket %d", o.call, o.s.fd)
}

const pieceSize = 64 << 10

// region is a buffer that the program has lent, and what was in it then, in pieces.
type region struct {
	base   weak.Pointer[byte]
	at     uintptr
	len    int
	pieces []uint64
}

var seed = maphash.MakeSeed()

// lend notes where buf is. It keeps no pointer to it.
func lend(buf *byte, n int) region {
	if n == 0 {
		return region{}
	}
	return region{base: weak.Make(buf), at: uintptr(unsafe.Pointer(buf)), len: n}
}

// bytes is the memory of r, nil if the garbage collector has taken it.
func (r *region) bytes() []byte {
	if p := r.base.Value(); p != nil {
		return unsafe.Slice(p, r.len) // the program's, which said that it is that long
	}
	return nil
}

// remember takes down what is in the region, from when on it must not change.
func (r *region) remember() {
	b := r.bytes()
	r.pieces = nil
	for len(b) > 0 {
		n := min(len(b), pieceSize)
		r.pieces = append(r.pieces, maphash.Bytes(seed, b[:n]))
		b = b[n:]
	}
}

// piece is the rest of the piece that begins at or before off. ok is false if the piece
// is not what it was.
func (r *region) piece(b []byte, off int) (rest []byte, ok bool) {
	start := off / pieceSize * pieceSize
	whole := b[start:min(start+pieceSize, len(b))]
	ok = r.pieces == nil || maphash.Bytes(seed, whole) == r.pieces[off/pieceSize]
	return whole[off-start:], ok
}

// check looks whether the region is there and, if it was remembered, is what it was.
func (o *op) check(r *region) ([]byte, *Violation) {
	if r.len == 0 {
		return nil, nil
	}
	b := r.bytes()
	if b == nil {
		return nil, &Violation{"buffer-released", fmt.Sprintf("the garbage collector took a buffer of %v, which was in flight: keep it reachable until its completion is dequeued", o)}
	}
	for off := 0; off < len(b); off += pieceSize {
		if _, ok := r.piece(b, off); !ok {
			return nil, o.changed()
		}
	}
	return b, nil
}

func (o *op) changed() *Violation {
	return &Violation{"buffer-changed", fmt.Sprintf("the program wrote to a buffer of %v, which was in flight: the buffer is the kernel's until the completion is dequeued", o)}
}

// start makes the operation known. It panics if its memory is in use.
func (o *op) start(ov *Overlapped, receives bool) {
	o.at, o.ov = uintptr(unsafe.Pointer(ov)), weak.Make(ov)
	if old := kernel.inFlight[o.at]; old != nil {
		if old.ov.Value() != ov {
			panic(old.released())
		}
		panic(&Violation{"overlapped-in-use", fmt.Sprintf("%v was given an OVERLAPPED that is in flight already, with %v: each operation in flight needs one of its own", o, old)})
	}
	if receives {
		for _, r := range o.bufs {
			if r.len == 0 {
				continue
			}
			if other := kernel.receiving[r.at]; other != nil && other.overlaps(r) {
				panic(&Violation{"buffer-shared", fmt.Sprintf("%v was given the memory that %v, which is in flight, receives into: what comes first would be overwritten", o, other)})
			}
		}
	}
	kernel.inFlight[o.at] = o
	for _, r := range o.bufs {
		if r.len > 0 && receives {
			kernel.receiving[r.at] = o
		}
	}
	ov.Internal, ov.InternalHigh = statusPending, 0
}

// overlaps tells whether r is still one of o's buffers: an address may have been used again.
func (o *op) overlaps(r region) bool {
	for _, mine := range o.bufs {
		if mine.at == r.at && mine.base == r.base {
			return true
		}
	}
	return false
}

func (o *op) released() *Violation {
	return &Violation{"overlapped-released", fmt.Sprintf("the garbage collector took the OVERLAPPED of %v, which was in flight: keep it reachable until its completion is dequeued", o)}
}

// remember takes down what is in the buffers of an operation that is now pending.
func (o *op) remember() {
	for i := range o.bufs {
		o.bufs[i].remember()
	}
}

// finish ends the operation: its outcome is written to the OVERLAPPED, and a completion
// is queued unless skip is set.
func (o *op) finish(n int, err error, skip bool) {
	o.finished, o.n = true, n
	if e, ok := err.(Errno); ok {
		o.status = statusOf(e)
	}
	for _, r := range o.bufs {
		if kernel.receiving[r.at] == o {
			delete(kernel.receiving, r.at)
		}
	}
	if o.broken {
		// said already
	} else if ov := o.ov.Value(); ov == nil {
		kernel.broken(o, o.released())
	} else if ov.Internal != statusPending {
		kernel.broken(o, &Violation{"overlapped-changed", fmt.Sprintf("the program wrote to the OVERLAPPED of %v, which was in flight: it is the kernel's until the completion is dequeued", o)})
	} else {
		ov.Internal, ov.InternalHigh = o.status, uintptr(n)
	}
	if skip || o.port == nil || o.broken {
		o.leave()
	} else {
		o.port.queue(packet{key: o.key, n: uint32(n), status: o.status, op: o})
	}
	kernel.done.Broadcast()
}

// leave gives the memory back to the program.
func (o *op) leave() {
	if kernel.inFlight[o.at] == o {
		delete(kernel.inFlight, o.at)
	}
}
