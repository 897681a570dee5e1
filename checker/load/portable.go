package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// portable is the generator on package net, two goroutines for each connection that
// sends: for systems on which the lab has no loop of its own for it. Its own costs are
// several times those of the other.
type portable struct {
	spec    Spec
	conns   []*peerConn
	pattern []byte
	began   time.Time

	phase    atomic.Int32 // before, in, after the window
	all      atomic.Int64
	messages atomic.Int64 // in the window
	dialing  atomic.Int64 // connections between two lives
	paced    atomic.Bool  // open loop: all messages are given out
	latency  [shards]struct {
		sync.Mutex
		*Histogram // closed loop
	}
	quiet   silence
	started int64 // messages that had come back before run

	mu     sync.Mutex
	err    error
	failed chan struct{} // closed at the first error
	open   *account      // guarded by mu
	result Result        // guarded by mu
	over   sync.WaitGroup
}

const (
	before int32 = iota
	inside
	after
	finished // the connections end, and nobody is to say so
)

// shards is how many histograms the connections of a closed loop share: one has 200 KB,
// too many for each connection to have its own.
const shards = 8

// writeAtOnce bytes are written by the goroutine that reads, since the sockets have room for
// them; more might wait for a server that waits for them to be read. A read takes at most
// readAtOnce.
const (
	writeAtOnce = 8 << 10
	readAtOnce  = 16 << 10
)

// peerConn is one connection.
type peerConn struct {
	net.Conn
	sent, back atomic.Int64    // messages that it was given to send, and that came back
	more       chan struct{}   // tells the goroutine that writes that there are more; nil if there is none
	times      []time.Duration // closed loop: when the messages under way were given; of the goroutine that reads
}

func newPortable(s Spec) *portable {
	g := &portable{spec: s, conns: make([]*peerConn, s.total()), pattern: pattern(s.Size, 64<<10), began: time.Now(),
		quiet: silence{server: s.Server}, failed: make(chan struct{}), result: Result{Latency: NewHistogram()}}
	for i := range g.latency {
		g.latency[i].Histogram = NewHistogram()
	}
	return g
}

func (g *portable) now() time.Duration { return time.Since(g.began) }

func (g *portable) fail(i int, err error) { g.failAll(failure(i, err)) }

// failAll notes the first error.
func (g *portable) failAll(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil && g.phase.Load() != finished {
		g.err = err
		close(g.failed)
	}
}

func (g *portable) connect() (int, error) {
	var next, proved atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(g.conns); i = int(next.Add(1)) - 1 {
				select {
				case <-g.failed:
					return
				default:
				}
				c, err := g.dial(i)
				if err != nil {
					g.fail(i, err)
					return
				}
				g.conns[i] = c
				proved.Add(1)
			}
		})
	}
	wg.Wait()
	return int(proved.Load()), g.err
}

// dial connects connection i and has it send a message and read it back.
func (g *portable) dial(i int) (*peerConn, error) {
	d := net.Dialer{Timeout: g.spec.Patience}
	if g.spec.Addr.Addr().IsLoopback() && runtime.GOOS == "linux" { // elsewhere loopback is one address
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source(g.spec.Source, i), 0))
	}
	conn, err := d.Dial("tcp", g.spec.Addr.String())
	if err != nil {
		return nil, err
	}
	if i >= g.spec.Connections+g.spec.Idle {
		conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	}
	if err := g.roundTrip(conn); err != nil {
		conn.Close()
		return nil, err
	}
	c := &peerConn{Conn: conn}
	if i < g.spec.Connections {
		c.times = make([]time.Duration, g.spec.Depth)
		if g.spec.Rate > 0 || g.spec.Size*g.spec.Depth > writeAtOnce {
			c.more = make(chan struct{}, 1)
		}
	}
	return c, nil
}

func (g *portable) roundTrip(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(g.spec.Patience))
	defer conn.SetDeadline(time.Time{})
	written := make(chan error, 1)
	write := func() {
		_, err := conn.Write(g.pattern[:g.spec.Size])
		written <- err
	}
	if g.spec.Size <= writeAtOnce {
		write()
	} else {
		go write()
	}
	buf := make([]byte, min(g.spec.Size, readAtOnce))
	var err error
	for at := 0; at < g.spec.Size && err == nil; {
		var n int
		n, err = conn.Read(buf[:min(len(buf), g.spec.Size-at)])
		if !bytes.Equal(buf[:n], g.pattern[at:][:n]) {
			err = errGarbled
		}
		at += n
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		err = notWithin("its first message has not come back", g.spec.Patience, "")
	}
	if err != nil {
		conn.SetDeadline(time.Now()) // who writes does not wait on
	}
	if other := <-written; err == nil {
		err = other
	}
	if err == nil {
		g.all.Add(1)
	}
	return ended(err)
}

// ended is err in the words of the other generator.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnded
	}
	return err
}

func (g *portable) run(mark func(begins bool)) (Result, error) {
	start := g.now()
	warm := start + g.spec.WarmUp
	end := warm + g.spec.Window
	if g.spec.Churn > 0 {
		g.result.Connect = NewHistogram()
	}
	if g.spec.Rate > 0 {
		g.open = &account{schedule: schedule{start: start, rate: g.spec.Rate, conns: int64(g.spec.Connections)},
			from: warm, to: end, latency: g.result.Latency, late: NewHistogram()}
	}
	g.started = g.all.Load()
	g.quiet.begin(g.started, start)
	for i, c := range g.conns {
		switch {
		case i >= g.spec.Connections+g.spec.Idle:
			g.over.Go(func() { g.slow(i, c) })
			go c.pour(g.pattern[:g.spec.Size])
		case i < g.spec.Connections:
			g.over.Go(func() { g.serve(i, c) })
		}
	}
	if g.open != nil {
		g.over.Go(func() { g.pace(end) })
	}
	g.sleep(warm)
	meter := startMeter(g.spec.Server)
	mark(true)
	g.inWindow(inside)
	g.sleep(end)
	g.inWindow(after)
	meter.stop(g.spec.Server, &g.result)
	mark(false)
	g.settle()
	g.phase.Store(finished)
	g.mu.Lock()
	for _, c := range g.conns {
		c.SetDeadline(time.Now()) // who waits need not wait on
	}
	g.mu.Unlock()
	g.over.Wait()
	for i := range g.latency {
		g.result.Latency.Merge(g.latency[i].Histogram)
	}
	g.result.Messages, g.result.All = g.messages.Load(), g.all.Load()
	if g.open != nil {
		g.open.fill(&g.result)
	}
	return g.result, g.err
}

// inWindow notes where the window begins and ends.
func (g *portable) inWindow(phase int32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.phase.Store(phase)
	if g.open != nil {
		g.open.enter(phase == inside)
	}
}

// sleep waits for a time, or the first error, and sees whether the server answers.
func (g *portable) sleep(until time.Duration) {
	for now := g.now(); now < until; now = g.now() {
		select {
		case <-g.failed:
			return
		case <-time.After(min(until-now, glance)):
		}
		if g.quiet.heard(g.all.Load(), g.now()) > g.spec.Patience {
			if err := g.unanswered(); err != nil {
				g.failAll(err)
			}
		}
	}
}

// serve is connection i: in a closed loop it begins, and what comes back is followed by
// the next.
func (g *portable) serve(i int, c *peerConn) {
	for c != nil {
		if c.more != nil {
			g.over.Go(func() { g.write(i, c) })
		}
		if g.open == nil {
			n := g.spec.Depth
			if g.spec.Churn > 0 {
				n = min(n, g.spec.Churn)
			}
			for k := range c.times {
				c.times[k] = g.now()
			}
			g.give(i, c, n)
		}
		err := g.read(i, c)
		if c.more != nil && g.open == nil {
			close(c.more)
		}
		if err != nil {
			g.fail(i, err)
			return
		}
		if c, err = g.again(i, c); err != nil {
			g.fail(i, err)
		}
	}
}

// give has connection i send n more messages.
func (g *portable) give(i int, c *peerConn, n int) {
	c.sent.Add(int64(n))
	if c.more != nil {
		select {
		case c.more <- struct{}{}:
		default: // it has not seen the last ones yet
		}
		return
	}
	if _, err := c.Write(g.pattern[:n*g.spec.Size]); err != nil {
		g.fail(i, err)
	}
}

// write sends what connection i is given.
func (g *portable) write(i int, c *peerConn) {
	written := int64(0)
	for more := true; more; {
		select {
		case _, more = <-c.more:
		case <-g.failed:
			return
		}
		for ; written < c.sent.Load(); written++ {
			if g.open != nil {
				g.mu.Lock()
				g.open.sent(written*g.open.conns+int64(i), g.now())
				g.mu.Unlock()
			}
			if _, err := c.Write(g.pattern[:g.spec.Size]); err != nil {
				g.fail(i, err)
				return
			}
		}
	}
}

// read reads what comes back on connection i, until it is at its end: by an error, or in a
// closed loop by the number of messages, or since the window is over and all are back.
func (g *portable) read(i int, c *peerConn) error {
	buf := make([]byte, min(max(g.spec.Size*g.spec.Depth, 512), readAtOnce))
	at, head := 0, 0 // bytes of the message that is coming in; the oldest of times
	for {
		n, err := c.Read(buf)
		if err != nil {
			return ended(err)
		}
		if !bytes.Equal(buf[:n], g.pattern[at:][:n]) {
			return errGarbled
		}
		whole := (at + n) / g.spec.Size
		if at = (at + n) % g.spec.Size; whole == 0 {
			continue
		}
		g.all.Add(int64(whole))
		now, phase := g.now(), g.phase.Load()
		if phase == inside {
			g.messages.Add(int64(whole))
		}
		if g.open != nil {
			g.mu.Lock()
			for range whole {
				g.open.back(i, c.back.Add(1)-1, now)
			}
			g.mu.Unlock()
			continue
		}
		shard := &g.latency[i%shards]
		shard.Lock()
		for range whole {
			if phase != before {
				shard.Add(now - c.times[head])
			}
			c.times[head] = now
			head = (head + 1) % len(c.times)
		}
		shard.Unlock()
		back := c.back.Add(int64(whole))
		if g.spec.Churn > 0 {
			whole = min(whole, g.spec.Churn-int(c.sent.Load()))
		}
		if phase == after {
			whole = 0
		}
		switch {
		case whole > 0:
			g.give(i, c, whole)
		case back == c.sent.Load():
			return nil
		}
	}
}

// again ends connection i and opens another in its place, nil if the window is over.
func (g *portable) again(i int, c *peerConn) (*peerConn, error) {
	if g.phase.Load() == after {
		return nil, nil
	}
	c.Close()
	g.dialing.Add(1)
	defer g.dialing.Add(-1)
	start := g.now()
	fresh, err := g.dial(i)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[i] = fresh
	switch g.phase.Load() {
	case inside:
		g.messages.Add(1) // the one that dial has had back
		g.result.Connect.Add(g.now() - start)
		g.result.Connects++
	case after, finished:
		return nil, nil
	}
	return fresh, nil
}

// pace deals the messages of an open loop out when they are due.
func (g *portable) pace(end time.Duration) {
	defer g.paced.Store(true)
	for k := int64(0); ; k++ {
		due := g.open.due(k)
		if due >= end {
			break
		}
		if wait := due - g.now(); wait > 0 {
			select {
			case <-time.After(wait):
			case <-g.failed:
				return
			}
		}
		i := g.open.on(k)
		g.give(i, g.conns[i], 1)
	}
	for _, c := range g.conns[:g.spec.Connections] {
		close(c.more)
	}
}

// settle waits for the messages that are not back, and accounts for those that do not
// come. In a closed loop each has to, as long as others do; an open loop may be one that
// the server does not keep up with.
func (g *portable) settle() {
	limit := g.now() + drip*g.spec.Patience
	if g.open != nil {
		limit = g.now() + grace
	}
	for now := g.now(); now < limit && g.quiet.heard(g.all.Load(), now) < grace && g.underWay(); now = g.now() {
		select {
		case <-g.failed:
			return
		case <-time.After(time.Millisecond):
		}
	}
	now := g.now()
	if g.open == nil || g.quiet.heard(g.all.Load(), now) > grace/2 {
		if err := g.unanswered(); err != nil {
			g.failAll(err)
		}
	}
	if g.open != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		for i, c := range g.conns[:g.spec.Connections] {
			g.open.missing(i, c.back.Load(), c.sent.Load(), now)
		}
	}
}

// active are the connections that send, just now.
func (g *portable) active() []*peerConn {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*peerConn(nil), g.conns[:g.spec.Connections]...)
}

// underWay tells whether a message is not back, or a connection of a closed loop is
// between two lives.
func (g *portable) underWay() bool {
	if g.open != nil && !g.paced.Load() || g.dialing.Load() > 0 {
		return true
	}
	for _, c := range g.active() {
		if c.back.Load() < c.sent.Load() {
			return true
		}
	}
	return false
}

// unanswered is the error of the messages that are not back, nil if there are none.
func (g *portable) unanswered() error {
	now := g.now()
	u := unanswered{last: now - g.quiet.since, never: g.quiet.all == g.started, oldest: now - g.quiet.since}
	for i, c := range g.active() {
		back, sent := c.back.Load(), c.sent.Load()
		if back == sent {
			continue
		}
		u.conns++
		u.messages += sent - back
		if g.open != nil {
			u.oldest = max(u.oldest, now-g.open.dueOn(i, back))
		}
	}
	if n := g.dialing.Load(); u.conns == 0 && n > 0 {
		return notWithin(fmt.Sprintf("%d new connections have not been taken and had their first message back", n),
			u.last.Round(100*time.Millisecond), g.quiet.doing(now))
	}
	if u.conns == 0 {
		return nil
	}
	u.doing = g.quiet.doing(now)
	return u
}

// slow reads a little now and then, of all that comes back.
func (g *portable) slow(i int, c *peerConn) {
	buf := make([]byte, 4<<10)
	for g.phase.Load() < after {
		if _, err := c.Read(buf); err != nil {
			g.fail(i, ended(err))
			return
		}
		select {
		case <-g.failed:
			return
		case <-time.After(slowPause):
		}
	}
}

// slowPause is the time between two reads of a slow reader.
const slowPause = 100 * time.Millisecond

// pour sends as much as the connection takes.
func (c *peerConn) pour(message []byte) {
	for {
		if _, err := c.Write(message); err != nil {
			return
		}
	}
}

func (g *portable) echo() error {
	for i, c := range g.conns {
		if c == nil {
			continue // it never came
		}
		if err := g.roundTrip(c); err != nil {
			return failure(i, err)
		}
	}
	return nil
}

func (g *portable) close() {
	for _, c := range g.conns {
		if c != nil {
			c.Close()
		}
	}
}
