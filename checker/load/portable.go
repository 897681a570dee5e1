package load

import (
	"bytes"
	"errors"
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

	phase  atomic.Int32 // before, in, after the window
	all    atomic.Int64
	paced  atomic.Bool // open loop: all messages are given out
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
)

// peerConn is one connection.
type peerConn struct {
	net.Conn
	sent, back atomic.Int64    // open loop: messages that it was given, and that came back
	wanted     chan int64      // open loop: messages to send
	times      []time.Duration // closed loop: when the messages under way were sent
	latency    *Histogram
	messages   int64
}

func newPortable(s Spec) *portable {
	return &portable{spec: s, conns: make([]*peerConn, s.total()), pattern: pattern(s.Size, 64<<10), began: time.Now(),
		failed: make(chan struct{}), result: Result{Latency: NewHistogram()}}
}

func (g *portable) now() time.Duration { return time.Since(g.began) }

func (g *portable) fail(i int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = failure(i, err)
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
	return &peerConn{Conn: conn, times: make([]time.Duration, g.spec.Depth)}, nil
}

func (g *portable) roundTrip(conn net.Conn) error {
	conn.SetDeadline(time.Now().Add(g.spec.Patience))
	defer conn.SetDeadline(time.Time{})
	message := g.pattern[:g.spec.Size]
	if _, err := conn.Write(message); err != nil {
		return err
	}
	buf := make([]byte, g.spec.Size)
	if _, err := io.ReadFull(conn, buf); err != nil {
		return ended(err)
	}
	if !bytes.Equal(buf, message) {
		return errGarbled
	}
	g.all.Add(1)
	return nil
}

// ended is err in the words of the other generator.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errEnded
	}
	return err
}

func (g *portable) run() (Result, error) {
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
	for i, c := range g.conns {
		switch {
		case i >= g.spec.Connections+g.spec.Idle:
			g.over.Go(func() { g.slow(i, c) })
			go c.pour(g.pattern[:g.spec.Size])
		case i >= g.spec.Connections:
		case g.open != nil:
			c.wanted = make(chan int64, 1<<16)
			g.over.Go(func() { g.sendWanted(i, c) })
			g.over.Go(func() { g.read(i, c) })
		default:
			g.over.Go(func() { g.chat(i) })
		}
	}
	if g.open != nil {
		g.over.Go(func() { g.pace(end) })
	}
	g.sleep(warm)
	meter := startMeter(g.spec.Server)
	g.phase.Store(inside)
	g.sleep(end)
	g.phase.Store(after)
	meter.stop(g.spec.Server, &g.result)
	if g.open != nil {
		g.settle()
	}
	g.mu.Lock()
	for _, c := range g.conns {
		c.SetDeadline(time.Now()) // who waits need not wait on
	}
	g.mu.Unlock()
	g.over.Wait()
	for _, c := range g.conns {
		g.result.Latency.Merge(c.latency)
		g.result.Messages += c.messages
	}
	g.result.All = g.all.Load()
	if g.open != nil {
		g.result.Messages, g.result.Lost, g.result.Late = g.open.messages, g.open.lost, g.open.late
	}
	return g.result, g.err
}

// sleep waits for a time, or the first error.
func (g *portable) sleep(until time.Duration) {
	select {
	case <-g.failed:
	case <-time.After(until - g.now()):
	}
}

// chat is a connection of a closed loop.
func (g *portable) chat(i int) {
	c := g.conns[i]
	c.latency = NewHistogram()
	message := g.pattern[:g.spec.Size]
	begin := func() error {
		for k := range c.times {
			c.times[k] = g.now()
		}
		_, err := c.Write(bytes.Repeat(message, g.spec.Depth))
		return err
	}
	err := begin()
	buf := make([]byte, g.spec.Size)
	head, n := 0, 0
	for err == nil && g.phase.Load() != after {
		if _, err = io.ReadFull(c, buf); err != nil {
			err = ended(err)
			break
		}
		if !bytes.Equal(buf, message) {
			err = errGarbled
			break
		}
		now := g.now()
		g.all.Add(1)
		n++
		if g.phase.Load() == inside {
			c.latency.Add(now - c.times[head])
			c.messages++
		}
		if g.spec.Churn > 0 && n >= g.spec.Churn {
			n, head = 0, 0
			if c, err = g.again(i, c); err == nil {
				err = begin()
			}
			continue
		}
		c.times[head] = now
		head = (head + 1) % len(c.times)
		_, err = c.Write(message)
	}
	if err != nil && g.phase.Load() != after {
		g.fail(i, err)
	}
}

// again ends connection i and opens another in its place.
func (g *portable) again(i int, c *peerConn) (*peerConn, error) {
	c.Close()
	start := g.now()
	fresh, err := g.dial(i)
	if err != nil {
		return c, err
	}
	fresh.latency, fresh.messages = c.latency, c.messages
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[i] = fresh
	if g.phase.Load() == inside {
		g.result.Connect.Add(g.now() - start)
		g.result.Connects++
	}
	return fresh, nil
}

// pace deals the messages of an open loop out when they are due.
func (g *portable) pace(end time.Duration) {
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
		c := g.conns[g.open.on(k)]
		c.sent.Add(1)
		select {
		case c.wanted <- k:
		case <-g.failed:
			return
		}
	}
	for _, c := range g.conns[:g.spec.Connections] {
		close(c.wanted)
	}
	g.paced.Store(true)
}

// sendWanted sends the messages that pace wants of connection i.
func (g *portable) sendWanted(i int, c *peerConn) {
	for {
		select {
		case k, ok := <-c.wanted:
			if !ok {
				return
			}
			g.mu.Lock()
			g.open.sent(k, g.now())
			g.mu.Unlock()
			if _, err := c.Write(g.pattern[:g.spec.Size]); err != nil {
				if g.phase.Load() != after {
					g.fail(i, err)
				}
				return
			}
		case <-g.failed:
			return
		}
	}
}

// read reads what comes back on a connection of an open loop.
func (g *portable) read(i int, c *peerConn) {
	buf := make([]byte, g.spec.Size)
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			if g.phase.Load() != after {
				g.fail(i, ended(err))
			}
			return
		}
		if !bytes.Equal(buf, g.pattern[:g.spec.Size]) {
			g.fail(i, errGarbled)
			return
		}
		g.all.Add(1)
		g.mu.Lock()
		g.open.back(i, c.back.Add(1)-1, g.now())
		g.mu.Unlock()
	}
}

// settle waits for the messages of an open loop that are not back, and accounts for those
// that do not come.
func (g *portable) settle() {
	active := g.conns[:g.spec.Connections]
	missing := func() bool {
		if !g.paced.Load() {
			return true
		}
		for _, c := range active {
			if c.back.Load() < c.sent.Load() {
				return true
			}
		}
		return false
	}
	for limit := g.now() + grace; g.now() < limit && missing(); {
		select {
		case <-g.failed:
			return
		case <-time.After(time.Millisecond):
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, c := range active {
		g.open.missing(i, c.back.Load(), c.sent.Load(), g.now())
	}
}

// slow reads a little now and then, of all that comes back.
func (g *portable) slow(i int, c *peerConn) {
	buf := make([]byte, 4<<10)
	for g.phase.Load() != after {
		if _, err := c.Read(buf); err != nil {
			if g.phase.Load() != after {
				g.fail(i, ended(err))
			}
			return
		}
		g.sleep(g.now() + 100*time.Millisecond)
	}
}

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
