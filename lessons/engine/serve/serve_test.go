package serve

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/lessons/engine"
)

// start runs a server as its main does, with an echo on the engine of newEngine.
func start(args []string, logTo io.Writer, newEngine func(engine.Config, engine.Handler) (engine.Engine, error)) int {
	return run(args, strings.NewReader(""), io.Discard, logTo, Service{
		New: func(cfg engine.Config, timed func(engine.Handler) engine.Handler) (engine.Engine, error) {
			return newEngine(cfg, timed(engine.Echo{}))
		},
	})
}

func TestBadFlagsAreSaidAndExitWith2(t *testing.T) {
	for _, args := range [][]string{
		{"-nonsense"},
		{"127.0.0.1:7000"},
		{"-addr", "localhost:7000"},
		{"-low-water", "10", "-high-water", "5"},
		{"-hard-limit", "4", "-high-water", "5"},
		{"-read-budget", "0"},
		{"-idle-timeout", "soon"},
	} {
		var out bytes.Buffer
		assert.Equal(t, 2, start(args, &out, nil), args)
		assert.NotEmpty(t, out.String(), args)
	}
}

// Marks that are not given follow the one that is.
func TestMarksFollowTheHighWaterMark(t *testing.T) {
	o, err := parse([]string{"-high-water", "8388608"}, io.Discard, nil)
	require.NoError(t, err)
	assert.Equal(t, 8<<20, o.cfg.HighWater)
	assert.Equal(t, 2<<20, o.cfg.LowWater)
	assert.Equal(t, 128<<20, o.cfg.HardLimit)
}

func TestHelpExitsWith0(t *testing.T) {
	assert.Equal(t, 0, start([]string{"-help"}, io.Discard, nil))
}

func TestAnEngineThatDoesNotStartIsSaid(t *testing.T) {
	var out bytes.Buffer
	code := start(nil, &out, func(engine.Config, engine.Handler) (engine.Engine, error) {
		return nil, errors.New("no luck")
	})
	assert.Equal(t, 1, code)
	assert.Contains(t, out.String(), "no luck")
}

func TestAStepThatIsNotWrittenIsSaid(t *testing.T) {
	var out bytes.Buffer
	code := start(nil, &out, func(engine.Config, engine.Handler) (engine.Engine, error) {
		panic(engine.NotImplemented("01.1", "Engine.listen"))
	})
	assert.Equal(t, 3, code)
	assert.Contains(t, out.String(), "step 01.1 is not written yet: Engine.listen")
}

func TestTheLimitThatRefusesIsNamed(t *testing.T) {
	s := engine.Stats{Connections: 3}
	assert.Contains(t, whyRefused(s, engine.Config{MaxConnections: 3}), "-max-connections allows, 3")
	s.Calls[engine.CallSelect] = 1
	assert.Contains(t, whyRefused(s, engine.Config{}), "FD_SETSIZE")
	s = engine.Stats{Refused: 1}
	s.Calls[engine.CallIOUringEnter] = 1
	assert.Contains(t, whyRefused(s, engine.Config{}), "(-direct) is full")
}

func TestStatsNameTheirCalls(t *testing.T) {
	s := engine.Stats{Accepts: 3}
	s.Calls[engine.CallEpollWait] = 7
	text, err := json.Marshal(named(s))
	require.NoError(t, err)
	assert.Contains(t, string(text), `"Accepts":3`)
	assert.Contains(t, string(text), `"Calls":{"epoll_wait":7}`)
}

func TestOtherPanicsGoOn(t *testing.T) {
	assert.PanicsWithValue(t, "a bug", func() {
		start(nil, io.Discard, func(engine.Config, engine.Handler) (engine.Engine, error) { panic("a bug") })
	})
}

// standing is an engine that serves nobody: its Poll waits, or returns when it is woken.
type standing struct {
	engine.Engine
	woken chan struct{}
	polls int
}

func (e *standing) Addr() netip.AddrPort           { return netip.AddrPort{} }
func (e *standing) ConnectionCount() int           { return 0 }
func (e *standing) Stats() engine.Stats            { return engine.Stats{BytesIn: uint64(e.polls)} }
func (e *standing) Shutdown(context.Context) error { return nil }
func (e *standing) Wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

func (e *standing) Poll(timeout time.Duration) error {
	e.polls++
	if timeout < 0 {
		timeout = time.Hour
	}
	select {
	case <-e.woken:
	case <-time.After(timeout):
	}
	return nil
}

func TestCommandsAndStatisticsAsJSON(t *testing.T) {
	in, commands := io.Pipe()
	read, out := io.Pipe()
	var log bytes.Buffer
	code := make(chan int)
	go func() {
		code <- run([]string{"-control", "-json-stats", "100ms", "-stats", "0"}, in, out, &log, Service{
			New: func(engine.Config, func(engine.Handler) engine.Handler) (engine.Engine, error) {
				return &standing{woken: make(chan struct{}, 1)}, nil
			},
			JSON: func() any { return map[string]int{"players": 3} },
		})
		out.Close()
	}()
	lines := bufio.NewScanner(read)
	require.True(t, lines.Scan())
	assert.JSONEq(t, `{"players": 3}`, lines.Text())
	go func() {
		for lines.Scan() {
		}
	}()
	for _, command := range []string{"stall 1ms", "stall", "stall 2h", "dance", "", "quit"} {
		fmt.Fprintln(commands, command)
	}
	assert.Equal(t, 0, <-code)
	text := log.String()
	assert.Contains(t, text, "held up, as commanded")
	assert.Equal(t, 2, strings.Count(text, "stall wants a time"))
	assert.Contains(t, text, "no such command")
}

// Without -json-stats the counters are written when they are asked for, and only then.
func TestCountersOnCommand(t *testing.T) {
	in, commands := io.Pipe()
	read, out := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run([]string{"-control", "-stats", "0"}, in, out, io.Discard, Service{
			New: func(engine.Config, func(engine.Handler) engine.Handler) (engine.Engine, error) {
				return &standing{woken: make(chan struct{}, 1)}, nil
			},
		})
		out.Close()
	}()
	lines := bufio.NewScanner(read)
	last := 1 // each turn counts
	for range 3 {
		fmt.Fprintln(commands, "counters")
		require.True(t, lines.Scan())
		var s struct{ BytesIn int }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &s), lines.Text())
		assert.GreaterOrEqual(t, s.BytesIn, last, "of now")
		last = s.BytesIn
	}
	commands.Close()
	assert.False(t, lines.Scan(), "nothing at the end: %s", lines.Text())
	assert.Equal(t, 0, <-code)
}

// unwoken is an engine of which Wake is not written yet.
type unwoken struct{ standing }

func (e *unwoken) Wake() { panic(engine.NotImplemented("01.7", "Engine.Wake")) }

func (e *unwoken) Poll(time.Duration) error { e.polls++; return nil } // there is something to do

func TestCommandsDoNotNeedWake(t *testing.T) {
	code := run([]string{"-control", "-stats", "0"}, strings.NewReader("counters\nquit\n"), io.Discard, io.Discard, Service{
		New: func(engine.Config, func(engine.Handler) engine.Handler) (engine.Engine, error) {
			return &unwoken{}, nil
		},
	})
	assert.Equal(t, 0, code)
}

func TestTheEndOfTheCommandsIsTheEnd(t *testing.T) {
	code := run([]string{"-control"}, strings.NewReader("stall 1ms\n"), io.Discard, io.Discard, Service{
		New: func(engine.Config, func(engine.Handler) engine.Handler) (engine.Engine, error) {
			return &standing{woken: make(chan struct{}, 1)}, nil
		},
	})
	assert.Equal(t, 0, code)
}

func TestALineOfStatisticsHasTheServicesPart(t *testing.T) {
	in, commands := io.Pipe()
	var log bytes.Buffer
	reported := make(chan struct{}, 1)
	code := make(chan int)
	go func() {
		code <- run([]string{"-control", "-stats", "1ms"}, in, io.Discard, &log, Service{
			New: func(engine.Config, func(engine.Handler) engine.Handler) (engine.Engine, error) {
				return &standing{woken: make(chan struct{}, 1)}, nil
			},
			Report: func() []any {
				select {
				case reported <- struct{}{}:
				default:
				}
				return []any{"players", 3}
			},
		})
	}()
	<-reported
	commands.Close()
	assert.Equal(t, 0, <-code)
	assert.Contains(t, log.String(), "players=3")
}
