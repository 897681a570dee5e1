package engine

import "time"

// Timed returns a handler that passes everything on to h and reports each callback
// that takes longer than budget: its name, its connection and the time it took.
// While one callback runs no other connection is served, so a slow one is everybody's
// latency. It costs two readings of the clock for each callback.
func Timed(h Handler, budget time.Duration, report func(callback string, c Conn, took time.Duration)) Handler {
	return timed{h, budget, report}
}

type timed struct {
	handler Handler
	budget  time.Duration
	report  func(callback string, c Conn, took time.Duration)
}

func (t timed) OnOpen(c Conn) {
	defer t.check("OnOpen", c, time.Now())
	t.handler.OnOpen(c)
}

func (t timed) OnData(c Conn, data []byte) {
	defer t.check("OnData", c, time.Now())
	t.handler.OnData(c, data)
}

func (t timed) OnClose(c Conn, err error) {
	defer t.check("OnClose", c, time.Now())
	t.handler.OnClose(c, err)
}

func (t timed) check(callback string, c Conn, start time.Time) {
	if took := time.Since(start); took > t.budget {
		t.report(callback, c, took)
	}
}
