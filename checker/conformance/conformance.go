// Package conformance is the suite that every engine of the lab must pass, whatever
// it is built on. Each function is one statement of the contract in
// [iolab/lessons/engine]; the lessons' step tests call them in the order in which
// the reader builds.
//
// The statements are checked from outside: bytes, order, counts, descriptors,
// processor time. How an engine does its work is its own affair.
package conformance

import (
	"testing"
	"time"

	"iolab/checker/labtest"
	"iolab/lessons/engine"
)

// Engine makes the engine under test.
type Engine func(cfg engine.Config, handler engine.Handler) (engine.Engine, error)

// Of turns a lesson's constructor into an Engine.
func Of[E engine.Engine](newEngine func(engine.Config, engine.Handler) (E, error)) Engine {
	return func(cfg engine.Config, handler engine.Handler) (engine.Engine, error) {
		e, err := newEngine(cfg, handler)
		if err != nil {
			return nil, err // not a nil E in an interface that is not nil
		}
		return e, nil
	}
}

// start is labtest.Start.
func start(t *testing.T, newEngine Engine, opts ...labtest.Option) *labtest.Lab {
	t.Helper()
	return labtest.Start(t, newEngine, opts...)
}

const (
	pause  = 20 * time.Millisecond
	pauses = 20
)

// waitsOf makes turns of a paused lab in which nothing happens, Poll(pause), and counts
// those in which the loop's thread gave its processor away. However busy the machine is,
// one that spins does not.
func waitsOf(l *labtest.Lab) (waits int) {
	l.Do(func(e engine.Engine) {
		for range pauses {
			start, before := time.Now(), labtest.Waits()
			if e.Poll(pause) != nil {
				return
			}
			if n := labtest.Waits(); n > before || n < 0 && time.Since(start) > pause/2 {
				waits++
			}
		}
	})
	return waits
}

// service is a handler made of functions; those that are nil do nothing.
type service struct {
	open  func(c engine.Conn)
	data  func(c engine.Conn, data []byte)
	close func(c engine.Conn, err error)
}

func (s service) OnOpen(c engine.Conn) {
	if s.open != nil {
		s.open(c)
	}
}

func (s service) OnData(c engine.Conn, data []byte) {
	if s.data != nil {
		s.data(c, data)
	}
}

func (s service) OnClose(c engine.Conn, err error) {
	if s.close != nil {
		s.close(c, err)
	}
}

// Silent is a service that does nothing.
var Silent engine.Handler = service{}
