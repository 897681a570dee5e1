package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the tests wait for takes milliseconds on a quiet machine.
const (
	waitFor = time.Minute
	poll    = 10 * time.Millisecond
)

// The test's binary is the program, and so its players, too.
func TestMain(m *testing.M) {
	if os.Getenv("IOLAB_GAMEBENCH") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// bench is a gamebench at work, in a process group of its own.
type bench struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer // of both kinds; read it after the end
	gone chan struct{}
}

func start(t *testing.T, args ...string) *bench {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	b := &bench{t: t, cmd: exec.Command(self, args...), gone: make(chan struct{})}
	b.cmd.Env = append(os.Environ(), "IOLAB_GAMEBENCH=1")
	b.cmd.Stdout, b.cmd.Stderr = &b.out, &b.out
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, b.cmd.Start())
	go func() {
		b.cmd.Wait()
		close(b.gone)
	}()
	t.Cleanup(func() {
		syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL)
		<-b.gone
	})
	return b
}

// crowd waits until the players' process has so many descriptors, and returns its number.
func (b *bench) crowd(descriptors int) (pid int) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, file := range stats {
			text, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
			if len(fields) < 2 || fields[1] != fmt.Sprint(b.cmd.Process.Pid) {
				continue
			}
			open, _ := os.ReadDir(filepath.Join(filepath.Dir(file), "fd"))
			pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(file)))
			return len(open) >= descriptors
		}
		return false
	}, waitFor, poll)
	return pid
}

// ends waits for the end and returns the exit status.
func (b *bench) ends() int {
	b.t.Helper()
	select {
	case <-b.gone:
	case <-time.After(waitFor):
		b.t.Fatal("it goes on")
	}
	return b.cmd.ProcessState.ExitCode()
}

func TestCtrlCEndsItAtOnce(t *testing.T) {
	const players = 20
	for _, c := range []struct {
		name        string
		descriptors int // of the players' process, before
		signal      syscall.Signal
		all         bool // the players get it, too, as a terminal does it
	}{
		{"while players join", 1, syscall.SIGINT, true},
		{"while it measures", players, syscall.SIGINT, true},
		{"the program alone", players, syscall.SIGINT, false},
		{"SIGTERM", players, syscall.SIGTERM, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, "-engines", "solutions/epoll-et,solutions/select", "-players", fmt.Sprint(players), "-seconds", "3600")
			b.crowd(c.descriptors)
			to := b.cmd.Process.Pid
			if c.all {
				to = -to
			}
			require.NoError(t, syscall.Kill(to, c.signal))
			assert.Equal(t, interrupted, b.ends(), b.out.String())
			assert.NotContains(t, b.out.String(), "gamebench:")
			assert.NotContains(t, b.out.String(), "solutions/", "no engine has a row, and none comes after it")
			// The group's number is not given to another before all of the group are gone.
			assert.Equal(t, syscall.ESRCH, syscall.Kill(-b.cmd.Process.Pid, 0), "no process is left")
		})
	}
}

func TestPlayersWhoDieAreNoMeasurement(t *testing.T) {
	const players = 20
	b := start(t, "-engines", "solutions/select", "-players", fmt.Sprint(players), "-seconds", "1")
	require.NoError(t, syscall.Kill(b.crowd(players), syscall.SIGKILL))
	b.ends()
	assert.Regexp(t, `select +(the players|the players could not all join)`, b.out.String())
}
