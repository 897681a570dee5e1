package runner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// how a step's process ended.
type how int

const (
	exited how = iota
	outOfTime
	outOfMemory
)

type ending struct {
	how    how
	status int
	signal string // that ended it, if one did
}

// lastWords is how long a process that is told to show its stacks has for it.
const lastWords = 5 * time.Second

// runLimited runs cmd within limits. It always waits for the process to be gone. Its
// output goes to out, unless cmd says where else.
func runLimited(ctx context.Context, cmd *exec.Cmd, out *output, limits Limits) (ending, error) {
	// The parent-death signal is tied to the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = out, out
	}
	cmd.WaitDelay = 2 * time.Second // for the pipe, should a grandchild hold it
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return ending{}, err
	}
	limit(cmd.Process.Pid, limits)
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()

	deadline := time.After(limits.Time)
	sample := time.NewTicker(100 * time.Millisecond)
	defer sample.Stop()
	end, done := ending{}, ctx.Done()
	var err error
loop:
	for {
		select {
		case err = <-over:
			break loop
		case <-done:
			killGroup(cmd.Process.Pid)
			done = nil
		case <-deadline:
			end.how = outOfTime
			deadline = lastChance(cmd.Process.Pid)
		case <-sample.C:
			if end.how == exited && limits.Memory > 0 && groupMemory(cmd.Process.Pid) > limits.Memory {
				end.how = outOfMemory
				deadline = lastChance(cmd.Process.Pid)
			}
		}
	}
	killGroup(cmd.Process.Pid) // children it may have left
	end.status, end.signal = exitStatus(cmd.ProcessState)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return end, err
	}
	if end.how != exited {
		end.signal = "" // ours
	}
	return end, nil
}

// lastChance asks for the stacks, and kills when they had time to come.
func lastChance(pid int) <-chan time.Time {
	askForStacks(pid)
	time.AfterFunc(lastWords, func() { killGroup(pid) })
	return nil
}

// RunGroup runs cmd in a process group of its own, and kills all of the group
// when cmd's context is cancelled.
func RunGroup(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ownGroup(cmd)
	cmd.Cancel = func() error {
		killGroup(cmd.Process.Pid)
		return nil
	}
	cmd.WaitDelay = 2 * time.Second
	return cmd.Run()
}

// Foreground runs cmd as if it were the checker itself: it gets the signals, and
// its exit status is returned; that a signal ended it is an error. When ctx is
// cancelled it is asked to end, and ended if it does not.
func Foreground(ctx context.Context, cmd *exec.Cmd) (status int, err error) {
	foreground(cmd)
	return attend(ctx, cmd, func() { interrupt(cmd.Process.Pid) }, func() { killGroup(cmd.Process.Pid) })
}

// Careful is Foreground for a program that has something to put back on this machine: should
// this process die, it is not killed but gets SIGTERM (on Linux), perhaps several times.
func Careful(ctx context.Context, cmd *exec.Cmd) (status int, err error) {
	foreground(cmd)
	careful(cmd)
	return attend(ctx, cmd, func() { interrupt(cmd.Process.Pid) }, func() { killGroup(cmd.Process.Pid) })
}

// OnTerminal is Foreground for a program that reads the keyboard: it stays in this
// process's own group, since a terminal stops all others that read from it. Ctrl-C
// reaches both; when ctx is cancelled the program gets SIGTERM as well.
func OnTerminal(ctx context.Context, cmd *exec.Cmd) (status int, err error) {
	sameGroup(cmd)
	return attend(ctx, cmd, func() { terminate(cmd.Process) }, func() { cmd.Process.Kill() })
}

func attend(ctx context.Context, cmd *exec.Cmd, ask, kill func()) (status int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	gone := make(chan struct{})
	go func() {
		select {
		case <-gone:
			return
		case <-ctx.Done():
			ask()
		}
		select {
		case <-gone:
		case <-time.After(15 * time.Second):
			kill()
		}
	}()
	err = cmd.Wait()
	close(gone)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	status, signal := fate(cmd.ProcessState)
	if signal == "killed" {
		signal += "; if not by you, then by the kernel for want of memory, and dmesg says so"
	}
	if status < 0 {
		return 0, fmt.Errorf("a signal ended the program before it was done: %s", signal)
	}
	return status, nil
}

// fate is a process's exit status, or -1 and the name of the signal that ended it.
func fate(state *os.ProcessState) (status int, signal string) {
	if status, signal = exitStatus(state); status < 0 && signal == "" {
		signal = "aborted" // which exitStatus does not tell
	}
	return status, signal
}
