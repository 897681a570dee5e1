//go:build linux

package uringloop

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{unsafe.Pointer(nil)}

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
//
// TODO step 1: Linux 5.6 at least: IORING_FEAT_SINGLE_MMAP, IORING_FEAT_NODROP, and an
// IORING_REGISTER_PROBE that knows accept, recv, send, close, read, cancel and timeout. With
// SQPoll also IORING_FEAT_SQPOLL_NONFIXED: without it every operation on a descriptor fails.
// Then add to r.features what p and the probe say there is and o.Without does not forbid:
// ExtArg by its feature bit, MultishotAccept, BufferRing (and Direct, if asked for) by
// IORING_OP_SOCKET, which came with them, MultishotRecv by IORING_OP_SEND_ZC,
// MultishotTimeout by IORING_OP_READ_MULTISHOT. No MultishotRecv without BufferRing, no MultishotAccept with Direct.
func (r *Ring) probe(p *abi.Params, o Options) error {
	panic(engine.NotImplemented("06.1", "Ring.probe"))
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
