//go:build linux

package uringloop

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
)

// Features are parts of io_uring that came over the years. Each has a way round it.
type Features uint32

// The features, with the kernel that brought each.
const (
	Disabled         Features = 1 << iota // a ring that starts when told to, 5.10
	SubmitAll                             // a bad submission stops no other, 5.18
	CoopTaskrun                           // no interrupts, 5.19
	SingleIssuer                          // one thread, fewer locks, 6.0
	DeferTaskrun                          // work is finished when we wait for it, 6.1
	SQPoll                                // a kernel thread submits; only if Options ask for it
	ExtArg                                // waiting with a timeout, 5.11; else a timeout operation
	BufferRing                            // the kernel picks receive buffers, 5.19; else one for each connection
	MultishotAccept                       // one accept for many connections, 5.19; else one for each, 16 under way
	MultishotRecv                         // one receive for many messages, 6.0; else one after the other
	Direct                                // connections without descriptors, 5.19; only if Options ask for it
	MultishotTimeout                      // one timeout for many ticks, 6.4; else one after the other
)

var featureNames = [...]string{"disabled start", "submit all", "cooperative task running", "single issuer",
	"deferred task running", "submission polling", "timeout in io_uring_enter", "buffer ring",
	"multishot accept", "multishot receive", "direct descriptors", "multishot timeout"}

// Has tells whether all of want are among f.
func (f Features) Has(want Features) bool { return f&want == want }

// String names the features.
func (f Features) String() string {
	var names []string
	for i, name := range featureNames {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Options choose among what the kernel has. The zero value is the best for most servers.
type Options struct {
	// Without are features not to be used: how an older kernel would have it.
	Without Features
	// SQPoll has a kernel thread take the submissions. It needs a processor to itself
	// while there is work, and 10 ms longer.
	SQPoll bool
	// Direct keeps connections in a table of the ring instead of the process's: they
	// have no descriptor.
	Direct bool
}

type setup struct {
	flags    uint32
	features Features
}

// setups are the flags to try, the best first.
func setups(o Options) (tries []setup) {
	base := setup{abi.IORING_SETUP_R_DISABLED | abi.IORING_SETUP_SUBMIT_ALL, Disabled | SubmitAll}
	add := func(flags uint32, features Features) {
		if features&o.Without == 0 {
			tries = append(tries, setup{flags, features})
		}
	}
	if o.SQPoll { // its thread runs the work: nothing is deferred
		add(base.flags|abi.IORING_SETUP_SINGLE_ISSUER|abi.IORING_SETUP_SQPOLL, base.features|SingleIssuer|SQPoll)
		add(abi.IORING_SETUP_SQPOLL, SQPoll)
		return tries
	}
	add(base.flags|abi.IORING_SETUP_SINGLE_ISSUER|abi.IORING_SETUP_DEFER_TASKRUN, base.features|SingleIssuer|DeferTaskrun)
	add(base.flags|abi.IORING_SETUP_SINGLE_ISSUER|abi.IORING_SETUP_COOP_TASKRUN, base.features|SingleIssuer|CoopTaskrun)
	add(base.flags|abi.IORING_SETUP_COOP_TASKRUN, base.features|CoopTaskrun)
	add(base.flags, base.features)
	add(0, 0)
	return tries
}

// probe finds out what the kernel can do beyond setup's flags: what it says of itself,
// which operations it knows (IORING_REGISTER_PROBE), and what came together with them.
func (r *Ring) probe(p *abi.Params, o Options) error {
	if p.Features&(abi.IORING_FEAT_SINGLE_MMAP|abi.IORING_FEAT_NODROP) != abi.IORING_FEAT_SINGLE_MMAP|abi.IORING_FEAT_NODROP {
		return fmt.Errorf("io_uring: this kernel's is too old, it takes Linux 5.6: update the kernel, or use an engine on epoll")
	}
	if r.features.Has(SQPoll) && p.Features&abi.IORING_FEAT_SQPOLL_NONFIXED == 0 {
		return fmt.Errorf("io_uring: submission by a kernel thread (SQPoll) takes Linux 5.11, before which it has only registered files: leave it out, or update the kernel")
	}
	var ops abi.Probe
	if err := r.register(abi.IORING_REGISTER_PROBE, unsafe.Pointer(&ops), len(ops.Ops)); err != nil {
		return fmt.Errorf("io_uring: no probe (%w): it takes Linux 5.6: update the kernel, or use an engine on epoll", err)
	}
	has := func(op uint8) bool { return ops.Ops[op].Flags&abi.IO_URING_OP_SUPPORTED != 0 }
	for _, op := range []uint8{abi.IORING_OP_ACCEPT, abi.IORING_OP_RECV, abi.IORING_OP_SEND, abi.IORING_OP_CLOSE, abi.IORING_OP_READ, abi.IORING_OP_ASYNC_CANCEL, abi.IORING_OP_TIMEOUT} {
		if !has(op) {
			return fmt.Errorf("io_uring: operation %d is missing: it takes Linux 5.6: update the kernel, or use an engine on epoll", op)
		}
	}
	found := map[Features]bool{
		ExtArg:           p.Features&abi.IORING_FEAT_EXT_ARG != 0,
		MultishotAccept:  has(abi.IORING_OP_SOCKET),
		BufferRing:       has(abi.IORING_OP_SOCKET),
		MultishotRecv:    has(abi.IORING_OP_SEND_ZC),
		Direct:           has(abi.IORING_OP_SOCKET) && o.Direct,
		MultishotTimeout: has(abi.IORING_OP_READ_MULTISHOT),
	}
	for feature, ok := range found {
		if ok && o.Without&feature == 0 {
			r.features |= feature
		}
	}
	if !r.features.Has(BufferRing) {
		r.features &^= MultishotRecv // each message needs a buffer of its own
	}
	if r.features.Has(Direct) {
		r.features &^= MultishotAccept // a connection without descriptor has no getpeername(2): the address comes with the accept
	}
	return nil
}

// Features are what the ring has and Options allow.
func (r *Ring) Features() Features { return r.features }

// explain says why io_uring_setup failed, and the cure.
func explain(errno error, o Options) error {
	text := "see io_uring_setup(2)"
	switch errno {
	case unix.ENOSYS:
		text = "the kernel has no io_uring (Linux 5.6 has), or the sandbox hides it"
	case unix.EPERM, unix.EACCES:
		text = "a seccomp filter forbids it, as container engines do: allow io_uring_setup, io_uring_enter and io_uring_register in the profile, or docker run --security-opt seccomp=unconfined"
		if o.SQPoll {
			text = "before Linux 5.13 a kernel thread that submits (SQPoll) is for root, or CAP_SYS_NICE: leave it out; or " + text
		}
		if b, err := os.ReadFile("/proc/sys/kernel/io_uring_disabled"); err == nil && strings.TrimSpace(string(b)) != "0" {
			text = "it is switched off: sysctl -w kernel.io_uring_disabled=0 (as root, on the host)"
		}
	case unix.ENOMEM:
		text = "locked memory is limited: ulimit -l unlimited, LimitMEMLOCK= in systemd; or Linux 5.12, which does not count it"
	case unix.EMFILE, unix.ENFILE:
		text = "no descriptor is left: ulimit -n"
	}
	return fmt.Errorf("io_uring_setup: %w: %s", errno, text)
}
