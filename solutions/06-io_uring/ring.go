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
)

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
func (r *Ring) open(entries uint32, o Options) (p abi.Params, err error) {
	for _, try := range setups(o) {
		p = abi.Params{CqEntries: 4 * entries, Flags: try.flags | abi.IORING_SETUP_CQSIZE | abi.IORING_SETUP_CLAMP, SqThreadIdle: sqpollIdle}
		// SAFETY: the kernel reads and writes p until the call returns.
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(&p)), 0)
		if errno == 0 {
			r.fd, r.features = int(fd), try.features
			return p, nil // close-on-exec, by itself
		}
		if err = explain(errno, o); errno != unix.EINVAL {
			break
		}
	}
	return p, err
}

// mmap maps the two rings, which share a mapping, and the array of submissions.
func (r *Ring) mmap(p *abi.Params) (err error) {
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	size := max(p.SqOff.Array+p.SqEntries*4, p.CqOff.Cqes+p.CqEntries*uint32(unsafe.Sizeof(abi.CQE{})))
	if r.rings, err = unix.Mmap(r.fd, abi.IORING_OFF_SQ_RING, int(size), prot, flags); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if r.entries, err = unix.Mmap(r.fd, abi.IORING_OFF_SQES, int(p.SqEntries)*int(unsafe.Sizeof(abi.SQE{})), prot, flags); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	if r.page, err = unix.Mmap(-1, 0, os.Getpagesize(), prot, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	// SAFETY: the offsets are the kernel's own, for this mapping; see Ring on its life.
	at := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }
	r.sqHead, r.sqTail, r.sqFlags = at(p.SqOff.Head), at(p.SqOff.Tail), at(p.SqOff.Flags)
	r.cqHead, r.cqTail = at(p.CqOff.Head), at(p.CqOff.Tail)
	r.sqMask, r.cqMask = *at(p.SqOff.RingMask), *at(p.CqOff.RingMask)
	r.sqes = unsafe.Slice((*abi.SQE)(unsafe.Pointer(&r.entries[0])), p.SqEntries)
	r.cqes = unsafe.Slice((*abi.CQE)(unsafe.Pointer(&r.rings[p.CqOff.Cqes])), p.CqEntries)
	r.wait = (*waitArg)(unsafe.Pointer(&r.page[0]))
	// The SQ is a ring of indices into the array of submissions. One that is the other's
	// mirror needs no further thought.
	for i, array := uint32(0), unsafe.Slice(at(p.SqOff.Array), p.SqEntries); i < p.SqEntries; i++ {
		array[i] = i
	}
	return nil
}

// Enable lets the ring run. The thread that calls it is the only one that may submit
// from then on, if the ring has [SingleIssuer]: lock the goroutine to it
// (runtime.LockOSThread), others get EEXIST. io_uring_setup(2),
// IORING_SETUP_SINGLE_ISSUER and IORING_SETUP_R_DISABLED.
func (r *Ring) Enable() error {
	if !r.features.Has(Disabled) {
		return nil // a kernel before 5.10: it runs since Setup
	}
	return r.register(abi.IORING_REGISTER_ENABLE_RINGS, nil, 0)
}

// SQE is the next free submission, all zero, or nil if the queue is full: then [Ring.Enter]
// makes room. It is the caller's to fill in until the next Enter, and the kernel's after
// that. Each of its completions but the last has IORING_CQE_F_MORE.
func (r *Ring) SQE() *abi.SQE {
	if r.prepared-atomic.LoadUint32(r.sqHead) > r.sqMask {
		return nil
	}
	sqe := &r.sqes[r.prepared&r.sqMask]
	*sqe = abi.SQE{}
	r.prepared++
	r.inFlight++
	return sqe
}

// Enter hands over what is prepared and waits until there are completions, as many as
// atLeast, or timeout is over; a negative timeout has no end. With atLeast 0 it does not
// wait, but finishes work that is due and fetches completions that had no room. It may
// come back early. io_uring_enter(2).
func (r *Ring) Enter(atLeast int, timeout time.Duration) error {
	flags := uintptr(abi.IORING_ENTER_GETEVENTS)
	var arg unsafe.Pointer
	var size uintptr
	if atLeast > 0 && timeout >= 0 {
		var more uintptr
		more, arg, size = r.limit(atLeast, timeout)
		flags |= more
	}
	atomic.StoreUint32(r.cqHead, r.taken)
	atomic.StoreUint32(r.sqTail, r.prepared)
	if r.features.Has(SQPoll) {
		more := r.sqpoll()
		if atLeast == 0 && more == 0 {
			return nil // the kernel's thread looks at the tail by itself
		}
		flags |= more
	}
	r.calls++
	// RawSyscall6 does not tell Go's scheduler that a call is on: right for one that does
	// not wait, and it saves having the processor taken away and fetched back. The price:
	// until all submissions are taken, a thousand sends in the worst turn, no other goroutine
	// has this processor, and a garbage collection that wants to stop the world waits.
	call := unix.RawSyscall6
	if atLeast > 0 || flags&abi.IORING_ENTER_SQ_WAIT != 0 {
		call = unix.Syscall6
	}
	// SAFETY: arg points into r.page, which outlives the call.
	_, _, errno := call(unix.SYS_IO_URING_ENTER, uintptr(r.fd), uintptr(r.prepared-atomic.LoadUint32(r.sqHead)),
		uintptr(atLeast), flags, uintptr(arg), size)
	switch errno {
	case 0, unix.ETIME, unix.EINTR:
		return nil
	case unix.EAGAIN, unix.EBUSY:
		return nil // no memory just now, or too many completions waiting: what is not taken stays prepared
	case unix.EEXIST:
		return fmt.Errorf("io_uring_enter: %w: the ring belongs to the thread that polled first", errno)
	}
	return os.NewSyscallError("io_uring_enter", errno)
}

// sqpoll is what has to be told to the kernel's thread that takes the submissions: to
// wake up, to flush completions that had no room, to make room for another submission.
func (r *Ring) sqpoll() (flags uintptr) {
	state := atomic.LoadUint32(r.sqFlags) // after the tail's store: else it may fall asleep unseen
	if state&abi.IORING_SQ_NEED_WAKEUP != 0 {
		flags |= abi.IORING_ENTER_SQ_WAKEUP
	}
	if state&abi.IORING_SQ_CQ_OVERFLOW != 0 {
		flags |= abi.IORING_ENTER_GETEVENTS
	}
	if r.prepared-atomic.LoadUint32(r.sqHead) > r.sqMask {
		flags |= abi.IORING_ENTER_SQ_WAIT
	}
	return flags
}

// limit makes the wait for atLeast completions end after timeout: by an argument of
// io_uring_enter, or else by a timeout operation, which also ends with that many
// completions.
func (r *Ring) limit(atLeast int, timeout time.Duration) (flags uintptr, arg unsafe.Pointer, size uintptr) {
	timeout = min(timeout, longest)
	r.wait.ts = abi.Timespec{Sec: int64(timeout / time.Second), Nsec: int64(timeout % time.Second)}
	if r.features.Has(ExtArg) {
		r.wait.arg.Ts = addrOf(&r.wait.ts)
		return abi.IORING_ENTER_EXT_ARG, unsafe.Pointer(&r.wait.arg), unsafe.Sizeof(r.wait.arg)
	}
	sqe := r.SQE()
	for ; sqe == nil; sqe = r.SQE() {
		if r.Enter(0, 0) != nil {
			return 0, nil, 0
		}
	}
	sqe.Opcode, sqe.Fd, sqe.Addr, sqe.Len, sqe.Off, sqe.UserData = abi.IORING_OP_TIMEOUT, -1, addrOf(&r.wait.ts), 1, uint64(atLeast), TimeoutData
	r.inFlight-- // it needs nothing of ours once it is under way
	return 0, nil, 0
}

// Ready gives the places of all completions taken so far back to the kernel, and returns
// how many are there to be taken.
func (r *Ring) Ready() int {
	atomic.StoreUint32(r.cqHead, r.taken)
	return int(atomic.LoadUint32(r.cqTail) - r.taken)
}

// Next takes one of the completions that Ready has counted.
func (r *Ring) Next() abi.CQE {
	cqe := r.cqes[r.taken&r.cqMask]
	r.taken++
	if cqe.Flags&abi.IORING_CQE_F_MORE == 0 && cqe.UserData != TimeoutData {
		r.inFlight--
	}
	return cqe
}

// Prepared tells whether there are submissions that the kernel has not seen.
func (r *Ring) Prepared() bool { return r.prepared != *r.sqTail }

// InFlight is the number of operations that have still to complete. While it is not 0
// the kernel may write to the memory that they were given.
func (r *Ring) InFlight() int { return r.inFlight }

// Close gives the mappings and the descriptor back. Operations that are still under way
// are cancelled by the kernel some time later: wait for InFlight to be 0 first.
func (r *Ring) Close() {
	for _, m := range []*[]byte{&r.page, &r.entries, &r.rings} {
		if *m != nil {
			_ = unix.Munmap(*m)
			*m = nil
		}
	}
	if r.fd >= 0 {
		unix.Close(r.fd)
		r.fd = -1
	}
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
