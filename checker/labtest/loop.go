package labtest

import (
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"iolab/checker/probe"
	"iolab/lessons/engine"
)

// loop is the goroutine that the engine belongs to. It polls unless it is paused,
// and runs what it is asked to between two turns.
type loop struct {
	requests chan func()
	quit     chan struct{}
	stopOnce sync.Once
	dead     chan struct{} // closed when the goroutine has ended, fault says why
	fault    fault

	tid    int // the thread it is locked to
	engine engine.Engine
	paused bool
	turns  atomic.Int64
}

func newLoop() *loop {
	lp := &loop{requests: make(chan func()), quit: make(chan struct{}), dead: make(chan struct{}), paused: true}
	ready := make(chan struct{})
	go lp.run(ready)
	<-ready
	return lp
}

// run is the name by which the loop's goroutine is found among the stacks.
func (lp *loop) run(ready chan<- struct{}) {
	runtime.LockOSThread() // its CPU time is the thread's
	lp.tid = gettid()
	close(ready)
	defer close(lp.dead)
	defer func() {
		if v := recover(); v != nil {
			lp.fault = fault{panic: v, stack: string(debug.Stack())}
		}
	}()
	for {
		if lp.paused {
			select {
			case f := <-lp.requests:
				f()
			case <-lp.quit:
				return
			}
			continue
		}
		select {
		case f := <-lp.requests:
			f()
			continue
		case <-lp.quit:
			return
		default:
		}
		err := lp.engine.Poll(slice)
		lp.turns.Add(1)
		if err != nil {
			lp.fault = fault{err: err}
			return
		}
	}
}

// stop ends the goroutine when its turn is over; it does not wait, since a wrong
// engine may never come back.
func (lp *loop) stop() { lp.stopOnce.Do(func() { close(lp.quit) }) }

// unwritten tells whether the loop died of a step that is not written yet.
func (lp *loop) unwritten() bool {
	select {
	case <-lp.dead:
		_, ok := lp.fault.panic.(engine.ErrNotImplemented)
		return ok
	default:
		return false
	}
}

// cpu is the processor time that the loop's thread has used; where a thread's is
// not to be had, the process's.
func (lp *loop) cpu() time.Duration {
	if d, err := probe.ThreadCPU(os.Getpid(), lp.tid); err == nil {
		return d
	}
	d, _ := probe.ProcessCPU(os.Getpid())
	return d
}

// frames are the calls that the loop's goroutine is in, innermost first, from the
// system call to Poll, without those of the runtime and of the lab.
func (lp *loop) frames() []string {
	stack := stackOf("labtest.(*loop).run(")
	var frames []string
	for line := range strings.Lines(stack) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "iolab/checker/") {
			break
		}
		if i := strings.LastIndex(line, "("); i > 0 && !strings.HasPrefix(line, "goroutine ") && !strings.HasPrefix(line, "/") &&
			!strings.HasPrefix(line, "runtime.") && !strings.HasPrefix(line, "internal/") && !strings.HasPrefix(line, "syscall.") {
			name := line[:i]
			name = name[strings.LastIndex(name, "/")+1:]
			frames = append(frames, name)
		}
	}
	return frames
}
