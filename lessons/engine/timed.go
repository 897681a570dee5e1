package engine

import (
	"sync/atomic"
	"time"
)

// Timed is a handler that passes everything on to Handler and, while it is switched
// on, reports each callback that takes longer than Budget: its name, its connection
// and the time it took. While one callback runs no other connection is served, so a
// slow one is everybody's latency.
//
// Off, it costs next to nothing. On, it reads the clock twice for each callback,
// which on a virtual machine can be a thirtieth of all that a small message costs:
// so it is for the time after Stats.SlowTurns has shown that something is slow.
type Timed struct {
	Handler Handler
	Budget  time.Duration
	Report  func(callback string, c Conn, took time.Duration)
	On      atomic.Bool // any goroutine may switch it
}

// OnOpen implements [Handler].
func (t *Timed) OnOpen(c Conn) {
	t.run("OnOpen", c, func() { t.Handler.OnOpen(c) })
}

// OnData implements [Handler].
func (t *Timed) OnData(c Conn, data []byte) {
	t.run("OnData", c, func() { t.Handler.OnData(c, data) })
}

// OnClose implements [Handler].
func (t *Timed) OnClose(c Conn, err error) {
	t.run("OnClose", c, func() { t.Handler.OnClose(c, err) })
}

func (t *Timed) run(name string, c Conn, callback func()) {
	if !t.On.Load() {
		callback()
		return
	}
	start := time.Now()
	callback()
	if took := time.Since(start); took > t.Budget {
		t.Report(name, c, took)
	}
}
