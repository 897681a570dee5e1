//go:build linux

// Package uringloop is lesson 06: a TCP engine on io_uring(7).
//
// Two rings in memory shared with the kernel. In the submission queue the engine asks
// for whole operations (accept, receive into a buffer, send), in the completion queue
// it finds what came of them. One system call a turn hands over everything that is to
// be done and fetches everything that is done. In return nothing may be moved, reused
// or closed that an operation under way still needs.
package uringloop

import (
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{fmt.Errorf, atomic.LoadUint32}

// Ring is one io_uring(7): a submission queue (SQ), which this side fills at its tail
// and the kernel empties at its head, and a completion queue (CQ), where it is the
// other way round.
//
//	       tail: ours                     head: the kernel's
//	SQ     we write an SQE, then          it reads the SQE, then
//	       store-release the tail         stores the head
//
//	       head: ours                     tail: the kernel's
//	CQ     load-acquire the tail, read    it writes a CQE, then
//	       CQEs, store-release the head   store-releases the tail
//
// Indices only ever grow, and wrap at 2³²; the slot is the index masked. Whoever sees
// the other's index sees all that was written before it: that is what acquire and
// release are for. Go's atomic loads and stores are both, and more (they are ordered
// among each other as well, which SQPOLL needs).
//
// A Ring belongs to one goroutine; see [Ring.Enable] for its thread.
type Ring struct {
	fd       int
	features Features
	inFlight int    // completions still to come that end an operation
	calls    uint64 // of io_uring_enter

	sqHead, sqTail, sqFlags *uint32
	sqMask                  uint32
	sqes                    []abi.SQE
	prepared                uint32 // our tail: the kernel has seen it up to *sqTail

	cqHead, cqTail *uint32
	cqMask         uint32
	cqes           []abi.CQE
	taken          uint32 // our head: the kernel has seen it up to *cqHead

	wait *waitArg // read by the kernel during io_uring_enter, or a timeout's submission

	// SAFETY: every pointer and slice above points into these mappings, which nothing
	// but Close takes away, after the kernel has let go of the ring.
	rings, entries, page []byte
}

// waitArg is what io_uring_enter reads to know how long to wait.
type waitArg struct {
	arg abi.GeteventsArg
	ts  abi.Timespec
}

const (
	sqpollIdle = 10             // milliseconds without work after which the kernel's thread sleeps
	longest    = 24 * time.Hour // one wait: the kernel adds it to its clock, which must not overflow
)

// TimeoutData is the UserData of the completions that Enter makes for itself on kernels
// without IORING_FEAT_EXT_ARG. They mean nothing.
const TimeoutData = math.MaxUint64

// Setup makes a ring with room for at least entries submissions, and four times as many
// completions. It is not running yet, see [Ring.Enable].
func Setup(entries uint32, o Options) (*Ring, error) {
	r := &Ring{fd: -1}
	p, err := r.open(entries, o)
	if err != nil {
		return nil, err
	}
	if err = r.probe(&p, o); err == nil {
		err = r.mmap(&p)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// open calls io_uring_setup with the best flags that the kernel takes: one that does not
// know a flag says EINVAL.
//
// TODO step 1: call io_uring_setup with the flags of setups(o), the first that are not
// answered with EINVAL. IORING_SETUP_CQSIZE makes CqEntries a wish: four times entries.
// Keep the descriptor and the features of the try in r; explain an error.
func (r *Ring) open(entries uint32, o Options) (p abi.Params, err error) {
	panic(engine.NotImplemented("06.1", "Ring.open"))
}

// mmap maps the two rings, which share a mapping, and the array of submissions.
//
// TODO step 1: map both rings (one mapping, IORING_OFF_SQ_RING) and the submissions
// (IORING_OFF_SQES), keep the mappings in r at once, so that Close finds them, and point
// the fields of r into them at the offsets that p gives. Map a page of r's own for r.wait.
// Fill the SQ's array.
func (r *Ring) mmap(p *abi.Params) (err error) {
	panic(engine.NotImplemented("06.1", "Ring.mmap"))
}

// Enable lets the ring run. The thread that calls it is the only one that may submit
// from then on, if the ring has [SingleIssuer]: lock the goroutine to it
// (runtime.LockOSThread), others get EEXIST. io_uring_setup(2),
// IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_R_DISABLED.
//
// TODO step 1: IORING_REGISTER_ENABLE_RINGS, if the ring was made with
// IORING_SETUP_R_DISABLED.
func (r *Ring) Enable() error {
	panic(engine.NotImplemented("06.1", "Ring.Enable"))
}

// SQE is the next free submission, all zero, or nil if the queue is full: then [Ring.Enter]
// makes room. It is the caller's to fill in until the next Enter, and the kernel's after
// that. Each of its completions but the last has IORING_CQE_F_MORE.
//
// TODO step 2: is there room between our tail and the kernel's head? Then clear the place,
// count it as in flight and return it.
func (r *Ring) SQE() *abi.SQE {
	panic(engine.NotImplemented("06.2", "Ring.SQE"))
}

// Enter hands over what is prepared and waits until there are completions, as many as
// atLeast, or timeout is over; a negative timeout has no end. With atLeast 0 it does not
// wait, but finishes work that is due and fetches completions that had no room. It may
// come back early. io_uring_enter(2).
//
// TODO step 2: store the two indices that are ours, then io_uring_enter with what is
// prepared, atLeast and IORING_ENTER_GETEVENTS, counted in r.calls. Step 3 adds limit, for a
// timeout, and sqpoll. A wait that is cut short (ETIME, EINTR) is no error, nor are EAGAIN
// and EBUSY.
func (r *Ring) Enter(atLeast int, timeout time.Duration) error {
	panic(engine.NotImplemented("06.2", "Ring.Enter"))
}

// sqpoll is what has to be told to the kernel's thread that takes the submissions: to
// wake up, to flush completions that had no room, to make room for another submission.
//
// TODO step 3: what the queue's flags, and a full queue, ask for: SQ_WAKEUP, GETEVENTS,
// SQ_WAIT.
func (r *Ring) sqpoll() (flags uintptr) {
	panic(engine.NotImplemented("06.3", "Ring.sqpoll"))
}

// limit makes the wait for atLeast completions end after timeout: by an argument of
// io_uring_enter, or else by a timeout operation, which also ends with that many
// completions.
//
// TODO step 3: no more than longest goes into r.wait.ts. With ExtArg point r.wait.arg at it,
// and let Enter pass that; else prepare an IORING_OP_TIMEOUT that also ends with atLeast
// completions, and does not count as in flight.
func (r *Ring) limit(atLeast int, timeout time.Duration) (flags uintptr, arg unsafe.Pointer, size uintptr) {
	panic(engine.NotImplemented("06.3", "Ring.limit"))
}

// Ready gives the places of all completions taken so far back to the kernel, and returns
// how many are there to be taken.
//
// TODO step 2: store our head; load the kernel's tail; the difference is what is there.
func (r *Ring) Ready() int {
	panic(engine.NotImplemented("06.2", "Ring.Ready"))
}

// Next takes one of the completions that Ready has counted.
//
// TODO step 2: copy the completion at our head out, and go on. Without IORING_CQE_F_MORE
// its operation is over, and no longer in flight. (TimeoutData never was: see limit.)
func (r *Ring) Next() abi.CQE {
	panic(engine.NotImplemented("06.2", "Ring.Next"))
}

// Prepared tells whether there are submissions that the kernel has not seen.
func (r *Ring) Prepared() bool { return r.prepared != *r.sqTail }

// InFlight is the number of operations that have still to complete. While it is not 0
// the kernel may write to the memory that they were given.
func (r *Ring) InFlight() int { return r.inFlight }

// Close gives the mappings and the descriptor back. Operations that are still under way
// are cancelled by the kernel some time later: wait for InFlight to be 0 first.
//
// TODO step 1: unmap what is mapped, and close the descriptor. A second Close does
// nothing.
func (r *Ring) Close() {
	panic(engine.NotImplemented("06.1", "Ring.Close"))
}

// register is io_uring_register(2).
func (r *Ring) register(op uintptr, arg unsafe.Pointer, n int) error {
	// SAFETY: the kernel uses what arg points to until the call returns.
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), uintptr(n), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_register", errno)
	}
	return nil
}

// registerTable makes room for n files that have no descriptor.
func (r *Ring) registerTable(n uint32) error {
	table := abi.RsrcRegister{Nr: n, Flags: abi.IORING_RSRC_REGISTER_SPARSE}
	return r.register(abi.IORING_REGISTER_FILES2, unsafe.Pointer(&table), int(unsafe.Sizeof(table)))
}

// addrOf is the address of p as the kernel wants it in a submission.
//
// SAFETY: p must point into a mapping: an integer keeps nothing alive and in place.
func addrOf[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
