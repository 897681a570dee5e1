package runner

import (
	"os/exec"
	"runtime"
	"time"
)

// Child is a process that runs beside this one, in a group of its own. On Linux the
// kernel ends it with this process; elsewhere it should watch for the end of its
// standard input.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// StartChild starts cmd.
func StartChild(cmd *exec.Cmd) (*Child, error) {
	c := &Child{cmd: cmd, done: make(chan struct{})}
	ownGroup(cmd)
	cmd.WaitDelay = 2 * time.Second // for the pipe, should a grandchild hold it
	started := make(chan error)
	go func() {
		// The parent-death signal is tied to the thread that starts the process: it stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			killGroup(cmd.Process.Pid) // children it may have left
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return c, nil
}

// PID is the process's number.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Done is closed when the process has ended and its output is read.
func (c *Child) Done() <-chan struct{} { return c.done }

// Ended is how it ended, after Done: its exit status, or -1 and the signal's name.
func (c *Child) Ended() (status int, signal string) { return fate(c.cmd.ProcessState) }

// Stop asks the process to end, ends it if it has not within grace, and waits until
// it is gone.
func (c *Child) Stop(grace time.Duration) {
	select {
	case <-c.done:
		return
	default:
	}
	interrupt(c.PID())
	select {
	case <-c.done:
	case <-time.After(grace):
		c.Kill()
	}
}

// Kill ends the process and its group at once, and waits until it is gone.
func (c *Child) Kill() {
	select {
	case <-c.done: // the number may be another's
	default:
		killGroup(c.PID())
		<-c.done
	}
}
