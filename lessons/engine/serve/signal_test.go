//go:build unix

package serve

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/lessons/engine"
)

// The test's binary is the servers that signals are sent to, too: IOLAB_FAKE says which.
func TestMain(m *testing.M) {
	var e engine.Engine
	var log io.Writer = os.Stderr
	switch os.Getenv("IOLAB_FAKE") {
	case "":
		os.Exit(m.Run())
	case "stands":
		e, log = &standing{woken: make(chan struct{}, 1)}, interrupting{}
	case "hangs":
		e = &hanging{}
	}
	os.Exit(run([]string{"-stats", "0"}, os.Stdin, io.Discard, log, Service{
		New: func(engine.Config, func(engine.Handler) engine.Handler) (engine.Engine, error) { return e, nil },
	}))
}

// interrupting is a log whose reader sends SIGINT as soon as the server listens.
type interrupting struct{}

func (interrupting) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("msg=listening")) {
		interrupt()
	}
	return os.Stderr.Write(p)
}

// hanging is an engine that is interrupted in a Poll that never returns, and again when it
// is woken for that.
type hanging struct{ standing }

func (*hanging) Poll(time.Duration) error { interrupt(); select {} }
func (*hanging) Wake()                    { interrupt() }

func interrupt() { syscall.Kill(os.Getpid(), syscall.SIGINT) }

// fake runs one of the servers above to its end.
func fake(t *testing.T, which string) (log string, ended syscall.WaitStatus) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), "IOLAB_FAKE="+which)
	text, _ := cmd.CombinedOutput()
	return string(text), cmd.ProcessState.Sys().(syscall.WaitStatus)
}

func TestASignalAsSoonAsItListensIsAShutdownInGoodOrder(t *testing.T) {
	log, ended := fake(t, "stands")
	assert.Equal(t, 0, ended.ExitStatus(), log)
	assert.Contains(t, log, "msg=bye")
}

func TestASecondSignalEndsALoopThatHangs(t *testing.T) {
	log, ended := fake(t, "hangs")
	assert.True(t, ended.Signaled(), log)
	assert.Equal(t, syscall.SIGINT, ended.Signal(), log)
}
