package gametest

import (
	"fmt"
	"time"

	"iolab/lessons/engine"
)

// Clock stands still until somebody moves it.
type Clock struct{ now time.Time }

// NewClock returns a clock.
func NewClock() *Clock { return &Clock{now: time.Unix(1_000_000, 0)} }

// Now is what the loop asks.
func (c *Clock) Now() time.Time { return c.now }

// Pass lets time pass.
func (c *Clock) Pass(d time.Duration) { c.now = c.now.Add(d) }

// Engine is an engine without connections: its Poll lets the time pass that it is to
// wait for, and writes it down.
type Engine struct {
	engine.Engine
	Clock *Clock
	Polls []time.Duration

	// Early makes Poll return after so much of its wait, as if something had come in.
	// 0: only when the wait is over.
	Early time.Duration
	// Round is what a wait is rounded up to, as the kernel's unit.
	Round time.Duration
	// Log is where the simulation writes too.
	Log *[]string
}

// Poll implements [engine.Engine].
func (e *Engine) Poll(timeout time.Duration) error {
	e.Polls = append(e.Polls, timeout)
	if e.Log != nil {
		*e.Log = append(*e.Log, "poll")
	}
	if timeout < 0 {
		panic("Poll(-1): nothing will ever come in")
	}
	if e.Round > 0 {
		timeout = (timeout + e.Round - 1) / e.Round * e.Round
	}
	if e.Early > 0 {
		timeout = min(timeout, e.Early)
	}
	e.Clock.Pass(timeout)
	return nil
}

// Waited is the last wait that the loop asked for.
func (e *Engine) Waited() time.Duration { return e.Polls[len(e.Polls)-1] }

// Simulation writes down what a loop does with it, and when.
type Simulation struct {
	Clock *Clock
	Takes time.Duration // each step
	Steps []time.Time
	Log   []string
}

// Step is one tick.
func (s *Simulation) Step() {
	s.Steps = append(s.Steps, s.Clock.now)
	s.Log = append(s.Log, "step")
	s.Clock.Pass(s.Takes)
}

// Broadcast sends nothing.
func (s *Simulation) Broadcast() { s.Log = append(s.Log, "broadcast") }

// Shutdown ends nothing.
func (s *Simulation) Shutdown() { s.Log = append(s.Log, "shutdown") }

// Sixtieth is the time of tick n at rate ticks a second, counted from a start: rounded
// down to the nanosecond.
func Sixtieth(n, rate int64) time.Duration {
	return time.Duration(n * int64(time.Second) / rate)
}

// Count says "1 tick" or "5 ticks".
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
