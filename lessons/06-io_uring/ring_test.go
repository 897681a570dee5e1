//go:build linux

//lint:file-ignore SA4006,SA4017 in the skeleton nothing returns

package uringloop_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/checker/labtest"
	"iolab/checker/probe"
	uringloop "iolab/lessons/06-io_uring"
	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
)

// workbench is a ring alone: no engine, no sockets but the test's own.
type workbench struct {
	*labtest.Lab
	ring *uringloop.Ring
	mem  []byte // a mapped page for what the kernel reads and writes
}

// part is a lab without an engine, on a machine that has an io_uring.
func part(t *testing.T) *labtest.Lab {
	t.Helper()
	l := labtest.Part(t)
	if _, err := probe.IOUring(); err != nil {
		l.Unavailable("%v", err)
	}
	return l
}

// bench sets a ring up, which runs on the lab's loop.
func bench(t *testing.T, entries uint32, o uringloop.Options) *workbench {
	t.Helper()
	b := &workbench{Lab: part(t)}
	b.Did("Setup(%d) without %q, Enable", entries, o.Without)
	var err error
	b.do(func() {
		if b.ring, err = uringloop.Setup(entries, o); err == nil {
			err = b.ring.Enable()
		}
	})
	if err != nil {
		b.Fail(labtest.Failure{Symptom: labtest.NewFails, Problem: fmt.Sprintf("a ring should be set up, but: %v", err)})
	}
	b.mem = mapped(t, os.Getpagesize())
	t.Cleanup(func() {
		if !t.Failed() {
			b.do(b.ring.Close)
		}
	})
	return b
}

func (b *workbench) do(f func()) {
	b.T().Helper()
	b.Do(func(engine.Engine) { f() })
}

// mapped is memory that the Go runtime knows nothing of.
func mapped(t *testing.T, size int) []byte {
	t.Helper()
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(mem) })
	return mem
}

func address(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&p[0]))) }

// ask prepares n submissions, filled in by fill, and wants room for them.
func (b *workbench) ask(n int, fill func(i int, sqe *abi.SQE)) {
	b.T().Helper()
	full := -1
	b.do(func() {
		for i := range n {
			sqe := b.ring.SQE()
			if sqe == nil {
				full = i
				return
			}
			fill(i, sqe)
		}
	})
	if full >= 0 {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "ring-full-too-early",
			Problem: fmt.Sprintf("there should be room for %d submissions, but abi.SQE returned nil for number %d", n, full+1)})
	}
}

// take enters and takes until n completions have come, or none comes any more.
func (b *workbench) take(n int) (all []abi.CQE) {
	b.T().Helper()
	b.do(func() {
		for last := time.Now(); len(all) < n && time.Since(last) < labtest.Patience/4; {
			if err := b.ring.Enter(0, 0); err != nil {
				return
			}
			for range b.ring.Ready() {
				all, last = append(all, b.ring.Next()), time.Now()
			}
		}
		b.ring.Ready()
	})
	return all
}

// want takes the completions of submissions whose UserData are from first on, in order.
func (b *workbench) want(first, n int, suspect string) []abi.CQE {
	b.T().Helper()
	all := b.take(n)
	if len(all) < n {
		b.Got("%d completions", len(all))
		b.Fail(labtest.Failure{Symptom: labtest.NoData, Suspect: suspect,
			Problem: fmt.Sprintf("%d operations should complete, but %d did", n, len(all))})
	}
	for i, cqe := range all {
		if cqe.UserData != uint64(first+i) {
			b.Got("completion %d has UserData %d", i+1, cqe.UserData)
			b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: suspect,
				Problem: fmt.Sprintf("completion %d should carry UserData %d, but carries %d", i+1, first+i, cqe.UserData)})
		}
	}
	return all
}

// wantResult wants an operation to have returned what it should.
func (b *workbench) wantResult(what string, cqe abi.CQE, res int32, suspect string) {
	b.T().Helper()
	if cqe.Res != res {
		b.Got("%d", cqe.Res)
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: suspect,
			Problem: fmt.Sprintf("%s should complete with %d, but completed with %d%s", what, res, cqe.Res, errnoText(cqe.Res))})
	}
}

func errnoText(res int32) string {
	if res >= 0 {
		return ""
	}
	return " (" + unix.ErrnoName(unix.Errno(-res)) + ")"
}

// Step 1: the ring

func TestStep01_ARingIsSetUp(t *testing.T) {
	l := part(t)
	var ring *uringloop.Ring
	var err error
	l.Did("Setup(100)")
	l.Do(func(engine.Engine) { ring, err = uringloop.Setup(100, uringloop.Options{}) })
	if err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.NewFails, Problem: fmt.Sprintf("a ring should be set up, but: %v", err)})
	}
	rings, _ := probe.Rings(os.Getpid())
	if len(rings) != 1 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "ring-not-set-up", Problem: fmt.Sprintf("the process should have one io_uring, but has %d", len(rings))})
	}
	if flags, _ := unix.FcntlInt(uintptr(rings[0].FD), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "no-close-on-exec", Problem: "the ring's descriptor should be close-on-exec, but is not"})
	}
	if n := rings[0].CqEntries; n < 4*100 {
		l.Got("it has %d", n)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "completion-queue-too-short", Problem: fmt.Sprintf("the completion queue should have four places for each submission, but has %d", n)})
	}
	l.Did("Enable; use a submission; Close")
	l.Do(func(engine.Engine) {
		if err = ring.Enable(); err == nil {
			ring.Close()
		}
	})
	if err != nil {
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Enable should start the ring, but: %v", err)})
	}
}

func TestStep01_FeaturesAreProbedAndCanBeMasked(t *testing.T) {
	l := part(t)
	for bit := range uringloop.Features(16) {
		without := uringloop.Features(1) << bit
		var features uringloop.Features
		var err error
		l.Did("Setup without %q", without)
		l.Do(func(engine.Engine) {
			var ring *uringloop.Ring
			if ring, err = uringloop.Setup(8, uringloop.Options{Without: without}); err == nil {
				features = ring.Features()
				ring.Close()
			}
		})
		switch {
		case err != nil:
			l.Fail(labtest.Failure{Symptom: labtest.NewFails, Suspect: "flags-not-stepped-down", Problem: fmt.Sprintf("a ring should be set up also where the kernel lacks something, but: %v", err)})
		case features&without != 0:
			l.Got("%s", features)
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "flags-not-stepped-down", Problem: fmt.Sprintf("%q should not be used when Options.Without says so, but is", without)})
		}
	}
	kernel, _ := probe.IOUring()
	var features uringloop.Features
	l.Do(func(engine.Engine) {
		if ring, err := uringloop.Setup(8, uringloop.Options{}); err == nil {
			features = ring.Features()
			ring.Close()
		}
	})
	if has := kernel&abi.IORING_FEAT_EXT_ARG != 0; features.Has(uringloop.ExtArg) != has {
		l.Got("%s", features)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "features-not-probed", Problem: fmt.Sprintf("Features should say what the kernel has (timeout in io_uring_enter: %v), but say %q", has, features)})
	}
}

func TestStep01_CloseGivesTheMappingsBack(t *testing.T) {
	l := part(t)
	wantUnmapped(l, 500, "Setup, Close", "", func() error {
		ring, err := uringloop.Setup(8, uringloop.Options{})
		if err == nil {
			ring.Close()
		}
		return err
	})
}

// wantUnmapped makes n calls of f, which what says in words, on the lab's loop, and wants
// nothing mapped that was not before. If f fails, suspect is why.
func wantUnmapped(l *labtest.Lab, n int, what, suspect string, f func() error) {
	l.T().Helper()
	const rounds = 5
	l.Did("%d times: %s", n, what)
	least := math.MaxInt // Go's runtime maps memory too, now and then; a leak is in every round
	for range rounds {
		before := mappedBytes()
		for range n / rounds {
			var err error
			l.Do(func(engine.Engine) { err = f() })
			if err != nil {
				l.Fail(labtest.Failure{Symptom: labtest.NewFails, Suspect: suspect, Problem: fmt.Sprintf("this should go well as often as one likes, but: %v", err)})
			}
		}
		least = min(least, mappedBytes()-before)
	}
	if least > 0 {
		l.Got("at least %d KiB are left by each %d", least>>10, n/rounds)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "mapping-not-unmapped", Problem: fmt.Sprintf("Close should unmap all that was mapped, but each %d times leave %d KiB at least", n/rounds, least>>10)})
	}
}

// mappedBytes is how much memory the process has mapped that is no file's: rings, and what
// belongs to nobody else.
func mappedBytes() (n int) {
	text, _ := os.ReadFile("/proc/self/maps")
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		fields := strings.Fields(line) // 7f61-7f62 rw-p 00000000 00:00 0 [name]
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err == nil && (len(fields) == 5 || strings.Contains(line, "io_uring")) {
			n += int(to - from)
		}
	}
	return n
}

func TestStep01_SetupSaysWhyThereIsNoRing(t *testing.T) {
	l := part(t)
	var err error
	release := l.Starve(0)
	l.Do(func(engine.Engine) {
		var ring *uringloop.Ring
		if ring, err = uringloop.Setup(8, uringloop.Options{}); err == nil {
			ring.Close()
		}
	})
	release()
	if !errors.Is(err, unix.EMFILE) {
		l.Got("%v", err)
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "error-not-explained", Problem: fmt.Sprintf("Setup should return the kernel's error (EMFILE), wrapped, but returned %v", err)})
	}
}

// Step 2: submit and complete

func nop(first int) func(int, *abi.SQE) {
	return func(i int, sqe *abi.SQE) { sqe.UserData = uint64(first + i) } // the opcode is 0
}

func TestStep02_NopsComeBack(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	b.Did("8 operations that do nothing (NOP), each with a UserData of its own")
	b.ask(8, nop(100))
	for _, cqe := range b.want(100, 8, "submission-not-published") {
		b.wantResult("a NOP", cqe, 0, "")
	}
}

func TestStep02_NothingRunsBeforeEnter(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	b.Did("prepare a NOP, and do not enter")
	b.ask(1, nop(1))
	var prepared bool
	var ready int
	b.do(func() { prepared, ready = b.ring.Prepared(), b.ring.Ready() })
	if !prepared || ready != 0 {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("before Enter a submission should be prepared and nothing complete, but Prepared is %v and Ready %d", prepared, ready)})
	}
	b.want(1, 1, "submission-not-published")
	b.do(func() { prepared = b.ring.Prepared() })
	if prepared {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "submission-not-published", Problem: "after Enter nothing should be prepared any more, but Prepared says so"})
	}
}

func TestStep02_AWriteAndAReadInOrder(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(p[0]); unix.Close(p[1]) }()
	text := "through the kernel and back"
	copy(b.mem, text)
	b.Did("a write to a pipe and, linked to it (abi.IOSQE_IO_LINK), a read from its other end")
	b.ask(2, func(i int, sqe *abi.SQE) {
		sqe.UserData, sqe.Len, sqe.Off = uint64(i), uint32(len(text)), 1<<64-1
		if i == 0 {
			sqe.Opcode, sqe.Flags, sqe.Fd, sqe.Addr = abi.IORING_OP_WRITE, abi.IOSQE_IO_LINK, int32(p[1]), address(b.mem)
		} else {
			sqe.Opcode, sqe.Fd, sqe.Addr = abi.IORING_OP_READ, int32(p[0]), address(b.mem[1000:])
		}
	})
	all := b.want(0, 2, "submission-not-published")
	b.wantResult("the write", all[0], int32(len(text)), "abi-layout")
	b.wantResult("the read", all[1], int32(len(text)), "abi-layout")
	if got := string(b.mem[1000:][:len(text)]); got != text {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "abi-layout", Problem: fmt.Sprintf("the read should bring %q, but brought %q", text, got)})
	}
}

func TestStep02_AFullQueueSaysSo(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	b.Did("prepare 8 NOPs in a ring of 8, and ask for one more")
	b.ask(8, nop(0))
	var extra *abi.SQE
	b.do(func() { extra = b.ring.SQE() })
	if extra != nil {
		b.Got("a submission")
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "queue-overrun", Problem: "SQE should return nil while the kernel has not taken the oldest submission, but returned one: the oldest is overwritten"})
	}
	b.want(0, 8, "queue-overrun")
	b.Did("Enter has made room: 8 more")
	b.ask(8, nop(8))
	b.want(8, 8, "queue-overrun")
}

// On a kernel before 5.18 a submission that cannot be made stops those behind it, until the
// next call.
func TestStep02_ABadSubmissionIsNotTheEnd(t *testing.T) {
	for _, o := range []uringloop.Options{{}, {Without: ^uringloop.Features(0)}} {
		b := bench(t, 8, o)
		b.Did("8 operations, the third of a kind that does not exist, without %q", o.Without)
		b.ask(8, func(i int, sqe *abi.SQE) {
			if sqe.UserData = uint64(i); i == 2 {
				sqe.Opcode = 255
			}
		})
		all := b.want(0, 8, "submission-left-behind")
		b.wantResult("an operation that does not exist", all[2], -int32(unix.EINVAL), "")
		b.Did("8 more, which are good")
		b.ask(8, nop(8))
		b.want(8, 8, "submission-left-behind")
	}
}

func TestStep02_IndicesWrap(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	b.SuspectNext(labtest.Rule{ID: "index-not-masked", For: []labtest.Symptom{labtest.Panics}})
	b.Did("10000 NOPs through a ring of 8, 1 to 8 at a time")
	for first, n := 0, 1; first < 10_000; first, n = first+n, n%8+1 {
		b.ask(n, nop(first))
		b.want(first, n, "completions-not-released")
	}
}

func TestStep02_ASubmissionStartsClean(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	b.Did("8 writes to a descriptor that is not open, linked")
	b.ask(8, func(i int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Fd, sqe.UserData, sqe.Addr, sqe.Len = abi.IORING_OP_WRITE, -1, uint64(i), address(b.mem), 1
	})
	for _, cqe := range b.want(0, 8, "submission-not-published") {
		b.wantResult("a write to descriptor -1", cqe, -int32(unix.EBADF), "")
	}
	b.Did("8 NOPs in the same places")
	b.ask(8, nop(8))
	for _, cqe := range b.want(8, 8, "sqe-not-cleared") {
		b.wantResult("a NOP", cqe, 0, "sqe-not-cleared")
	}
}

// Step 3: waiting

// waits are the two ways of waiting with a timeout.
var waits = []uringloop.Options{{}, {Without: uringloop.ExtArg}}

func TestStep03_AWaitEndsWithItsTimeout(t *testing.T) {
	for _, o := range waits {
		b := bench(t, 8, o)
		for _, d := range []time.Duration{time.Microsecond, 1500 * time.Microsecond, 30 * time.Millisecond, 1100 * time.Millisecond} {
			b.Did("Enter(1, %v), with nothing under way", d)
			var took time.Duration
			var err error
			for whole, short := 0, 0; whole <= short && short < 3 && err == nil; { // a signal may cut a wait short, but not most
				b.do(func() {
					start := time.Now()
					err = b.ring.Enter(1, d)
					took = time.Since(start)
					// Where the timeout is an operation, it outlives a wait that was cut short.
					time.Sleep(d - took)
					b.ring.Enter(0, 0)
					for range b.ring.Ready() {
						b.ring.Next()
					}
				})
				if took < d {
					short++
				} else {
					whole++
				}
			}
			if err != nil || took < d {
				b.Got("%v, %v", took, err)
				b.Fail(labtest.Failure{Symptom: labtest.PollEarly, Suspect: "wait-ignores-timeout", Problem: fmt.Sprintf("Enter(1, %v) should wait for %v when nothing completes, but returned after %v with %v", d, d, took, err)})
			}
		}
	}
}

func TestStep03_ACompletionEndsTheWait(t *testing.T) {
	for _, o := range waits {
		b := bench(t, 8, o)
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		defer func() { unix.Close(p[0]); unix.Close(p[1]) }()
		for i := range 3 {
			b.Did("a read from an empty pipe, then Enter(1, 1m); another goroutine writes a byte")
			b.ask(1, func(_ int, sqe *abi.SQE) {
				sqe.Opcode, sqe.Fd, sqe.Addr, sqe.Len, sqe.Off, sqe.UserData = abi.IORING_OP_READ, int32(p[0]), address(b.mem), 1, 1<<64-1, uint64(i)
			})
			go func() { time.Sleep(20 * time.Millisecond); unix.Write(p[1], []byte{7}) }()
			var done []abi.CQE
			b.do(func() {
				for len(done) == 0 && b.ring.Enter(1, time.Minute) == nil {
					for range b.ring.Ready() {
						if cqe := b.ring.Next(); cqe.UserData != uringloop.TimeoutData {
							done = append(done, cqe)
						}
					}
				}
			})
			if len(done) != 1 || done[0].UserData != uint64(i) || done[0].Res != 1 {
				b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("the read should complete with 1 byte, but what came is %v", done)})
			}
		}
	}
}

func TestStep03_CompletionsWithoutRoomAreKept(t *testing.T) {
	for _, o := range []uringloop.Options{{}, {Without: uringloop.DeferTaskrun}} {
		b := bench(t, 8, o)
		const most = 1000
		b.Did("%d NOPs, 8 at a time, and not one completion taken: the queue has room for 32", most)
		var err error
		n := 0
		b.do(func() {
			for ; n < most; n++ {
				sqe := b.ring.SQE()
				for tries := 0; sqe == nil && err == nil && tries < 1000; tries++ {
					err = b.ring.Enter(0, 0)
					sqe = b.ring.SQE()
				}
				if sqe == nil {
					break
				}
				sqe.UserData = uint64(n)
			}
			if err == nil {
				err = b.ring.Enter(0, 0)
			}
		})
		if err != nil {
			b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Enter should go on while completions have no room, but returned %v", err)})
		}
		// Before 5.19 the kernel took nothing more (EBUSY) while completions had no room: the
		// queue, what went beyond it, and what is prepared.
		if n <= 32+8 {
			b.Got("%d", n)
			b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "ring-full-too-early", Problem: fmt.Sprintf("submissions should be taken also when their completions have no room, but after %d none was", n)})
		}
		b.Did("take them all")
		b.want(0, n, "overflow-not-fetched")
	}
}

func TestStep03_WhatIsUnderWayIsCounted(t *testing.T) {
	b := bench(t, 8, uringloop.Options{})
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(p[0]); unix.Close(p[1]) }()
	inFlight := func(want int, why string) {
		t.Helper()
		var got int
		b.do(func() { got = b.ring.InFlight() })
		if got != want {
			b.Got("InFlight() is %d", got)
			b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "in-flight-miscounted", Problem: fmt.Sprintf("InFlight should be %d (%s), but is %d", want, why, got)})
		}
	}
	b.Did("a read from an empty pipe")
	b.ask(1, func(_ int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Fd, sqe.Addr, sqe.Len, sqe.Off, sqe.UserData = abi.IORING_OP_READ, int32(p[0]), address(b.mem), 1, 1<<64-1, 1
	})
	b.do(func() { b.ring.Enter(1, time.Millisecond); b.ring.Ready() })
	inFlight(1, "the read waits")
	b.Did("cancel it")
	b.ask(1, func(_ int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Fd, sqe.Addr, sqe.UserData = abi.IORING_OP_ASYNC_CANCEL, -1, 1, 2
	})
	all := b.take(2)
	if len(all) != 2 {
		b.Fail(labtest.Failure{Symptom: labtest.NoData, Suspect: "submission-not-published", Problem: fmt.Sprintf("a cancelled operation and its cancellation should both complete, but %d completions came", len(all))})
	}
	inFlight(0, "both have completed")

	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := errors.Join(unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(ln, 8)); err != nil {
		t.Fatal(err)
	}
	b.Did("a multishot accept, and two clients")
	b.ask(1, func(_ int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Fd, sqe.Ioprio, sqe.UserData = abi.IORING_OP_ACCEPT, int32(ln), abi.IORING_ACCEPT_MULTISHOT, 3
	})
	b.do(func() { b.ring.Enter(1, time.Millisecond) })
	sa, _ := unix.Getsockname(ln)
	for range 2 {
		c, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		unix.Connect(c, sa)
		defer unix.Close(c)
	}
	for _, cqe := range b.take(2) {
		if cqe.Res == -int32(unix.EINVAL) {
			b.do(func() {})
			return // a kernel before 5.19
		}
		unix.Close(int(cqe.Res))
	}
	inFlight(1, "an accept with abi.IORING_CQE_F_MORE goes on")
	b.ask(1, func(_ int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Fd, sqe.Addr, sqe.UserData = abi.IORING_OP_ASYNC_CANCEL, -1, 3, 4
	})
	b.take(2)
	inFlight(0, "the accept is cancelled")
}

func TestStep03_APollingKernelThreadIsWoken(t *testing.T) {
	sqpollable(t)
	b := bench(t, 8, uringloop.Options{SQPoll: true})
	for i := range 5 {
		b.Did("a NOP, after the kernel's thread (abi.IORING_SETUP_SQPOLL) has gone to sleep")
		time.Sleep(30 * time.Millisecond)
		b.ask(1, nop(i))
		b.want(i, 1, "sqpoll-not-woken")
	}
	b.Did("8 NOPs at a time, 50 times: a full queue is waited for")
	for first := range 50 {
		b.ask(8, nop(8*first))
		b.want(8*first, 8, "sqpoll-not-woken")
	}
}

// sqpollable wants a kernel that lets everybody have a thread that submits.
func sqpollable(t *testing.T) {
	t.Helper()
	if features, err := probe.IOUring(); err == nil && features&abi.IORING_FEAT_RSRC_TAGS == 0 {
		labtest.Part(t).Unavailable("this kernel has no thread that submits (SQPoll) for everybody: it takes Linux 5.13")
	}
}

// Step 4: memory for the kernel

// pair is a socket pair; what is sent on the second is received on the first.
func pair(t *testing.T) (r, w int) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]); unix.Close(p[1]) })
	return p[0], p[1]
}

// buffered is a ring with count buffers of size bytes.
func buffered(t *testing.T, count, size int) (*workbench, *uringloop.Buffers) {
	t.Helper()
	b := bench(t, 8, uringloop.Options{})
	var bufs *uringloop.Buffers
	var err error
	var has bool
	b.Did("%d buffers of %d bytes", count, size)
	b.do(func() {
		bufs, err = uringloop.NewBuffers(b.ring, 7, count, size)
		has = b.ring.Features().Has(uringloop.BufferRing)
	})
	if err != nil {
		b.Fail(labtest.Failure{Symptom: labtest.NewFails, Problem: fmt.Sprintf("buffers should be registered, but: %v", err)})
	}
	t.Cleanup(func() {
		if !t.Failed() {
			b.do(bufs.Close)
		}
	})
	if !has {
		b.Unavailable("this kernel has no ring of provided buffers: it takes Linux 5.19")
	}
	return b, bufs
}

// receive has the kernel receive into a buffer of its choice.
func (b *workbench) receive(fd int) abi.CQE {
	b.T().Helper()
	b.ask(1, func(_ int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Flags, sqe.Fd, sqe.BufGroup = abi.IORING_OP_RECV, abi.IOSQE_BUFFER_SELECT, int32(fd), 7
	})
	return b.want(0, 1, "")[0]
}

// received wants what a completion says to be message.
func (b *workbench) received(bufs *uringloop.Buffers, cqe abi.CQE, message []byte, suspect string) uint32 {
	b.T().Helper()
	b.wantResult("a receive", cqe, int32(len(message)), suspect)
	var id uint32
	var ok bool
	var got string
	b.do(func() {
		if id, ok = bufs.Claim(cqe.Flags); ok {
			got = string(bufs.Data(id, int(cqe.Res)))
		}
	})
	if !ok || got != string(message) {
		b.Got("buffer %d (%v): %q", id, ok, got)
		b.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Suspect: suspect, Problem: fmt.Sprintf("the completion should name a buffer with %q in it, but names %d, which holds %q", message, id, got)})
	}
	return id
}

func TestStep04_TheKernelPicksABuffer(t *testing.T) {
	b, bufs := buffered(t, 4, 256)
	r, w := pair(t)
	for i := range 4 {
		message := fmt.Appendf(nil, "message %d", i)
		unix.Write(w, message)
		b.Did("a receive with abi.IOSQE_BUFFER_SELECT")
		b.received(bufs, b.receive(r), message, "buffer-not-found")
	}
	unix.Write(w, []byte("one too many"))
	b.Did("a fifth, while this side has all four buffers")
	b.wantResult("a receive without a free buffer", b.receive(r), -int32(unix.ENOBUFS), "buffer-not-found")
}

func TestStep04_BuffersComeBack(t *testing.T) {
	b, bufs := buffered(t, 8, 256)
	r, w := pair(t)
	const n = 70_000
	b.Did("%d messages through 8 buffers, given back in another order: the tail has 16 bits", n)
	var held []uint32
	failed := ""
	var cause string
	b.T().Helper()
	for first := 0; first < n && failed == ""; first += 1000 {
		b.do(func() {
			for i := first; i < first+1000 && failed == ""; i++ {
				message := fmt.Appendf(nil, "message %d", i)
				unix.Write(w, message)
				sqe := b.ring.SQE()
				sqe.Opcode, sqe.Flags, sqe.Fd, sqe.BufGroup = abi.IORING_OP_RECV, abi.IOSQE_BUFFER_SELECT, int32(r), 7
				b.ring.Enter(0, 0)
				if b.ring.Ready() != 1 {
					failed, cause = fmt.Sprintf("message %d should be received, but is not", i+1), "buffers-not-returned"
					return
				}
				cqe := b.ring.Next()
				if cqe.Res < 0 {
					failed, cause = fmt.Sprintf("message %d should be received, but the receive completed with %d%s", i+1, cqe.Res, errnoText(cqe.Res)), "buffers-not-returned"
					return
				}
				id, _ := bufs.Claim(cqe.Flags)
				if got := string(bufs.Data(id, int(cqe.Res))); got != string(message) {
					failed, cause = fmt.Sprintf("message %d should be in the buffer that its completion names (%d), but there is %q", i+1, id, got), "buffer-tail-clobbers-bid"
					return
				}
				// Three are held back and given in another order, so that every buffer comes to
				// lie in every entry.
				if held = append(held, id); len(held) == 3 {
					bufs.Give(held[2])
					bufs.Give(held[0])
					bufs.Publish()
					held = []uint32{held[1]}
				}
			}
		})
	}
	if failed != "" {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: cause, Problem: failed})
	}
}

func TestStep04_GivenIsNotYetPublished(t *testing.T) {
	b, bufs := buffered(t, 2, 256)
	r, w := pair(t)
	unix.Write(w, []byte("a"))
	unix.Write(w, []byte("b"))
	first := b.received(bufs, b.receive(r), []byte("a"), "buffer-not-found")
	second := b.received(bufs, b.receive(r), []byte("b"), "buffer-not-found")
	var kernels int
	b.Did("give one back")
	b.do(func() { bufs.Give(first); kernels = bufs.Kernels() })
	if kernels != 1 {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Kernels should be 1 when one of two buffers was given back, but is %d", kernels)})
	}
	unix.Write(w, []byte("c"))
	b.Did("receive before Publish, and after it")
	b.wantResult("a receive before Publish", b.receive(r), -int32(unix.ENOBUFS), "buffer-published-too-early")
	b.do(bufs.Publish)
	b.received(bufs, b.receive(r), []byte("c"), "buffers-not-returned")
	b.do(func() { bufs.Give(second); bufs.Publish() })
}

func TestStep04_OneReceiveForManyMessages(t *testing.T) {
	b, bufs := buffered(t, 8, 256)
	var multishot bool
	b.do(func() { multishot = b.ring.Features().Has(uringloop.MultishotRecv) })
	if !multishot {
		b.Unavailable("this kernel has no multishot receive: it takes Linux 6.0")
	}
	r, w := pair(t)
	b.Did("a multishot receive, then 5 messages")
	b.ask(1, func(_ int, sqe *abi.SQE) {
		sqe.Opcode, sqe.Flags, sqe.Fd, sqe.BufGroup, sqe.Ioprio = abi.IORING_OP_RECV, abi.IOSQE_BUFFER_SELECT, int32(r), 7, abi.IORING_RECV_MULTISHOT
	})
	b.do(func() { b.ring.Enter(0, 0) })
	for i := range 5 {
		message := fmt.Appendf(nil, "message %d", i)
		unix.Write(w, message)
		cqe := b.want(0, 1, "")[0]
		b.received(bufs, cqe, message, "buffer-not-found")
		if cqe.Flags&abi.IORING_CQE_F_MORE == 0 {
			b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: "a multishot receive should go on (abi.IORING_CQE_F_MORE) while there are buffers, but ended"})
		}
	}
	b.ask(1, func(_ int, sqe *abi.SQE) { sqe.Opcode, sqe.Fd = abi.IORING_OP_ASYNC_CANCEL, -1 })
	b.take(2)
}

func TestStep04_BlocksStayWhereTheyAre(t *testing.T) {
	l := part(t)
	var blocks uringloop.Blocks
	l.Did("200 blocks of 3 bytes to 180 KiB, all filled, each appended to twice")
	var err error
	failed, heap := -1, -1
	l.Do(func(engine.Engine) {
		defer func() {
			if err == nil {
				blocks.Close()
			}
		}()
		var all [][]byte
		for i := range 200 {
			var block []byte
			for j := range 3 {
				if block, err = blocks.Append(block, labtest.Pattern(3*i+j, 1+i*300)); err != nil {
					return
				}
			}
			if labtest.OnGoHeap(block) {
				heap = i
			}
			all = append(all, block)
		}
		for i, block := range all {
			for j := range 3 {
				if n := 1 + i*300; string(block[j*n:][:n]) != string(labtest.Pattern(3*i+j, n)) {
					failed = i
				}
			}
			blocks.Put(block)
		}
		again, _ := blocks.Append(nil, []byte("x"))
		blocks.Put(again)
	})
	switch {
	case err != nil:
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Problem: fmt.Sprintf("Append should find memory, but: %v", err)})
	case heap >= 0:
		l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "kernel-memory-on-go-heap", Problem: "what the kernel works in should be mapped memory, but a block is on Go's heap"})
	case failed >= 0:
		l.Fail(labtest.Failure{Symptom: labtest.WrongBytes, Suspect: "blocks-overlap", Problem: fmt.Sprintf("each block should keep its bytes until Put, but those of block %d (%d bytes) have changed", failed+1, 3*(1+failed*300))})
	}
}

func TestStep04_BlocksAreUsedAgain(t *testing.T) {
	l := part(t)
	for _, n := range []int{100, 3000, 100_000} {
		rounds := min(10_000, 50_000_000/n) // the memory, should none come again
		l.Did("%d times: a block of a byte, to which %d more are appended, and which is put back", rounds, n)
		var blocks uringloop.Blocks
		var err error
		small, large := map[uint64]bool{}, map[uint64]bool{}
		data := make([]byte, n)
		l.Do(func(engine.Engine) {
			for range rounds {
				var block []byte
				if block, err = blocks.Append(nil, data[:1]); err != nil {
					return
				}
				small[address(block)] = true
				if block, err = blocks.Append(block, data); err != nil {
					return
				}
				large[address(block)] = true
				if blocks.Put(block); len(small) > rounds/2 || len(large) > rounds/2 {
					return
				}
			}
			blocks.Close()
		})
		if err != nil {
			l.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "blocks-not-used-again", Problem: fmt.Sprintf("one block at a time should always be to be had, but: %v", err)})
		}
		if most := max(len(small), len(large)); most > rounds/2 {
			l.Got("%d different ones", most)
			l.Fail(labtest.Failure{Symptom: labtest.MemoryGrows, Suspect: "blocks-not-used-again", Problem: fmt.Sprintf("a block that was put back, or left for a larger one, should be given out again, but %d came that were new", most)})
		}
	}
}

func TestStep04_CloseUnmapsBuffersAndBlocks(t *testing.T) {
	l := part(t)
	for _, o := range []uringloop.Options{{}, {Without: uringloop.BufferRing}} {
		wantUnmapped(l, 500, fmt.Sprintf("a ring without %q, buffers and blocks, and Close of all three", o.Without), "", func() error {
			ring, err := uringloop.Setup(8, o)
			if err != nil {
				return err
			}
			defer ring.Close()
			if err := ring.Enable(); err != nil {
				return err
			}
			bufs, err := uringloop.NewBuffers(ring, 7, 4, 256)
			if err != nil {
				return err
			}
			defer bufs.Close()
			var blocks uringloop.Blocks
			defer blocks.Close()
			for _, n := range []int{1, 1000, 100_000} {
				block, err := blocks.Append(nil, make([]byte, n))
				if err != nil {
					return err
				}
				blocks.Put(block)
			}
			return nil
		})
	}
}

func TestStep04_BuffersWithoutABufferRing(t *testing.T) {
	b := bench(t, 8, uringloop.Options{Without: uringloop.BufferRing})
	var err error
	distinct := map[uint64]bool{}
	b.Did("a pool of 4 buffers, without a buffer ring; take 100, give them back, 10 times")
	alike := 0 // buffers of a round that share memory
	b.do(func() {
		var bufs *uringloop.Buffers
		if bufs, err = uringloop.NewBuffers(b.ring, 7, 4, 256); err != nil {
			return
		}
		defer bufs.Close()
		for range 10 {
			round, taken := map[uint64]bool{}, []uint32{}
			for range 100 {
				var id uint32
				if id, err = bufs.Take(); err != nil {
					return
				}
				taken = append(taken, id)
				round[address(bufs.Data(id, 256))] = true
			}
			alike = max(alike, 100-len(round))
			maps.Copy(distinct, round)
			for _, id := range taken {
				bufs.Give(id)
			}
		}
	})
	if err != nil || alike > 0 {
		b.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "blocks-overlap", Problem: fmt.Sprintf("Take should find a buffer of its own for each of 100 receives, but found %d (%v)", 100-alike, err)})
	}
	if len(distinct) > 500 {
		b.Got("%d different ones", len(distinct))
		b.Fail(labtest.Failure{Symptom: labtest.MemoryGrows, Suspect: "buffer-not-taken-again", Problem: fmt.Sprintf("Take should find what Give has given back, but 10 times 100 receives had %d different buffers", len(distinct))})
	}
}
