package gameserver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The test's binary is the servers, too: IOLAB_FAKE says which.
func TestMain(m *testing.M) {
	switch os.Getenv("IOLAB_FAKE") {
	case "":
		os.Exit(m.Run())
	case "listens":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Fprintln(os.Stderr, "time=now level=INFO msg=listening addr=127.0.0.1:4711 os=any")
		fmt.Println("a reader's own line")
		fmt.Println(`{"engine":"solutions/epoll-et","how":"native","timer":"1 ms","seconds":1.5,"rate":60,"ticks":90,"late_us":{"p50":1,"p99":2,"max":3},"game":{"Players":7,"Replaced":8},"server":{"BytesOut":9},"syscalls":10}`)
		go func() { // the end of the input is a command, too; on Windows it is the only one
			io.Copy(io.Discard, os.Stdin)
			interrupted <- os.Interrupt
		}()
		<-interrupted
		fmt.Fprintln(os.Stderr, "time=now level=INFO msg=bye")
	case "deaf":
		signal.Ignore(os.Interrupt)
		fmt.Fprintln(os.Stderr, "time=now level=INFO msg=listening addr=127.0.0.1:4711 os=any")
		select {}
	case "unwritten":
		fmt.Fprintln(os.Stderr, `time=now level=ERROR msg="step 07.2 is not written yet: Loop.Poll"`)
		os.Exit(3)
	case "refuses":
		fmt.Fprintln(os.Stderr, `time=now level=ERROR msg="cannot start" err="io_uring_setup: operation not permitted" hint="the cure"`)
		os.Exit(1)
	case "silent":
		os.Exit(1)
	case "ends in order":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Fprintln(os.Stderr, "time=now level=INFO msg=listening addr=127.0.0.1:4711 os=any")
		io.Copy(io.Discard, os.Stdin)
		select { // a shutdown that takes a while, and that a signal would cut short
		case <-interrupted:
		case <-time.After(100 * time.Millisecond):
			fmt.Fprintln(os.Stderr, "time=now level=INFO msg=bye")
		}
	}
}

func fake(t *testing.T, which string) (*Server, error) {
	t.Setenv("IOLAB_FAKE", which)
	self, err := os.Executable()
	require.NoError(t, err)
	s, err := Start(t.Context(), self, "127.0.0.1:0", "solutions/epoll-et")
	if err == nil {
		t.Cleanup(s.Stop)
	}
	return s, err
}

func TestAServerIsStartedReadAndStopped(t *testing.T) {
	s, err := fake(t, "listens")
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1:4711", s.Addr)
	stats := <-s.Stats
	assert.Equal(t, 60, stats.Rate)
	assert.Equal(t, "1 ms", stats.Timer)
	assert.Equal(t, 3.0, stats.Late.Max)
	assert.Equal(t, 7, stats.Game.Players)
	assert.EqualValues(t, 9, stats.Server.BytesOut)
	s.Stop()
	<-s.Done()
	assert.Contains(t, s.log.text(), "bye", "it was asked, not killed")
	s.Stop() // again
}

func TestAShutdownInGoodOrderIsNotDisturbed(t *testing.T) {
	s, err := fake(t, "ends in order")
	require.NoError(t, err)
	s.Stop()
	assert.Contains(t, s.log.text(), "msg=bye", s.Err())
}

func TestTheSignalThatEndedAServerIsNamed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals")
	}
	s, err := fake(t, "deaf")
	require.NoError(t, err)
	p, err := os.FindProcess(s.PID())
	require.NoError(t, err)
	require.NoError(t, p.Kill())
	<-s.Done()
	assert.ErrorContains(t, s.Err(), "ended by a signal (killed); it said:")
}

func TestAServerThatDoesNotEndIsEnded(t *testing.T) {
	s, err := fake(t, "deaf")
	require.NoError(t, err)
	begin := time.Now()
	s.Stop()
	<-s.Done()
	assert.GreaterOrEqual(t, time.Since(begin), stopWithin)
}

func TestWhyAServerDoesNotStart(t *testing.T) {
	_, err := fake(t, "unwritten")
	var not *NotWritten
	require.ErrorAs(t, err, &not)
	assert.Equal(t, "step 07.2 is not written yet: Loop.Poll", not.Step)

	_, err = fake(t, "refuses")
	assert.ErrorContains(t, err, "operation not permitted")
	assert.ErrorContains(t, err, "the cure")
	_, err = fake(t, "silent")
	assert.ErrorContains(t, err, "without a word")
}

func TestWhatIsNotWrittenIsExplained(t *testing.T) {
	err := Explain(&NotWritten{"step 07.2 is not written yet: Loop.Poll"}, "lessons/epoll-et")
	assert.ErrorContains(t, err, "your lesson 07 is not written yet (step 07.2")
	assert.ErrorContains(t, err, "-solution")
	assert.Equal(t, 1, Status(err))
	err = Explain(&NotWritten{"step 03.1 is not written yet: Engine.setup"}, "lessons/epoll-et")
	assert.ErrorContains(t, err, "your engine lessons/epoll-et is not written yet (step 03.1")
	assert.ErrorContains(t, err, "-engine solutions/epoll-et")
	other := errors.New("other")
	assert.Equal(t, other, Explain(other, "lessons/epoll-et"))
	assert.Equal(t, 3, Status(other))
	assert.Equal(t, 0, Status(nil))
}

func TestEnginesHaveNames(t *testing.T) {
	for _, solution := range []bool{false, true} {
		names := Engines(solution)
		require.NotEmpty(t, names)
		best, err := Engine("", solution)
		require.NoError(t, err)
		assert.Contains(t, names, best)
		for _, full := range names {
			_, bare, _ := strings.Cut(full, "/")
			for _, name := range []string{full, bare} {
				got, err := Engine(name, solution)
				require.NoError(t, err)
				assert.Equal(t, full, got)
			}
			got, err := Engine(full, !solution)
			require.NoError(t, err)
			assert.Equal(t, full, got, "the folder before the name counts")
		}
		_, err = Engine("xyzzy", solution)
		assert.ErrorContains(t, err, "there is no engine xyzzy (there are ")
		assert.Equal(t, 2, Status(err))
	}
}
