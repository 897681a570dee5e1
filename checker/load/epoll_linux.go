package load

import (
	"bytes"
	"fmt"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func newGenerator(s Spec) generator {
	if s.Portable {
		return newPortable(s)
	}
	return newEpoll(s)
}

const (
	readSize   = 256 << 10
	connecting = 200 // connections on their way at once: less than a server's accept queue holds
	slowEvery  = 100 * time.Millisecond
	slowRead   = 4 << 10
)

// epoll is the generator on one epoll instance. Edge-triggered, for reading and writing,
// from a connection's first moment to its last: no message costs an epoll_ctl.
type epoll struct {
	spec    Spec
	epfd    int
	conns   []peer // first those that send, then the idle ones, then the slow ones
	events  []unix.EpollEvent
	pattern []byte
	buf     []byte
	began   time.Time // times are durations since then
	now     time.Duration

	proved   int  // connections whose first message has come back
	opening  bool // in connect: a connection that fails is given up, and those on their way are waited for
	lost     int  // connections given up
	err      error
	measured bool // inside the window
	counted  bool // what comes back was under way in the window, or still is
	sending  bool // closed loop: a message that comes back is followed by another
	open     *account
	next     int64 // open loop: the next message to send
	slowAt   time.Duration
	quiet    silence
	started  int64 // messages that had come back before run
	result   Result
}

type state uint8

const (
	closed  state = iota
	dialing       // connect is under way
	proving       // its first message is under way
	serving       // sends and reads
	idle          // proved, and silent
	ending        // has ended its output
)

// peer is one connection. It is small: there may be a million.
type peer struct {
	fd    int32
	state state
	full  bool  // the kernel took a part of what was written
	pos   int32 // bytes of the message that is coming in
	out   int32 // bytes of the message that is going out
	owed  int64 // bytes to write
	sent  int64 // messages given to it
	back  int64 // messages that came back
	head  int32 // of times
	times []time.Duration
}

func newEpoll(s Spec) *epoll {
	g := &epoll{spec: s, epfd: -1, began: time.Now(), conns: make([]peer, s.total()),
		events: make([]unix.EpollEvent, 1024), pattern: pattern(s.Size, readSize), buf: make([]byte, readSize),
		quiet: silence{server: s.Server}, result: Result{Latency: NewHistogram()}}
	for i := range g.conns {
		g.conns[i].fd = -1
	}
	// Sleeps end when they should, not 50 microseconds later (PR_SET_TIMERSLACK).
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	return g
}

// sends and slow say what connection i is for.
func (g *epoll) sends(i int) bool { return i < g.spec.Connections }
func (g *epoll) slow(i int) bool  { return i >= g.spec.Connections+g.spec.Idle }

func (g *epoll) connect() (int, error) {
	var err error
	if g.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return 0, err
	}
	g.tick()
	g.opening = true
	next := 0
	g.quiet.begin(0, g.now)
	for g.proved+g.lost < next || next < len(g.conns) && g.err == nil {
		for next < len(g.conns) && next-g.proved < connecting && g.err == nil {
			g.dial(next)
			next++
		}
		g.turn(100 * time.Millisecond)
		quiet := g.quiet.heard(int64(g.proved), g.now)
		if g.err != nil && quiet > time.Second {
			break // what is on its way does not come either
		}
		if g.err == nil && quiet > g.spec.Patience {
			g.err = g.stuck()
			break
		}
	}
	g.opening = false
	return g.proved, g.err
}

// stuck is the error of connections that do not come: it tells what the first of them
// waits for.
func (g *epoll) stuck() error {
	for i := range g.conns {
		switch c := &g.conns[i]; c.state {
		case dialing:
			return failure(i, notWithin("nobody has taken it", g.spec.Patience, g.quiet.doing(g.now)))
		case proving:
			return failure(i, notWithin("its first message has not come back", g.spec.Patience, g.quiet.doing(g.now)))
		}
	}
	return failure(g.proved, unix.ETIMEDOUT)
}

// dial begins to connect connection i.
func (g *epoll) dial(i int) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		g.fail(i, err)
		return
	}
	c := &g.conns[i]
	c.fd, c.state = int32(fd), dialing
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if g.slow(i) {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, slowRead)
	}
	if addr := g.spec.Addr.Addr(); addr.IsLoopback() {
		// The port is chosen at connect, where only the four together have to be new.
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source(g.spec.Source, i).As4()}); err != nil {
			g.fail(i, err)
			return
		}
	}
	if g.sends(i) && c.times == nil {
		c.times = make([]time.Duration, g.spec.Depth)
	}
	if err := unix.EpollCtl(g.epfd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(i), Pad: int32(fd)}); err != nil {
		g.fail(i, err)
		return
	}
	if len(c.times) > 0 {
		c.times[0] = g.now
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(g.spec.Addr.Port()), Addr: g.spec.Addr.Addr().As4()})
	if err != nil && err != unix.EINPROGRESS {
		g.fail(i, err)
	}
}

func (g *epoll) fail(i int, err error) {
	if g.err == nil {
		g.err = failure(i, err)
	}
	if c := &g.conns[i]; g.opening && c.state != closed {
		unix.Close(int(c.fd))
		*c = peer{fd: -1}
		g.lost++
	}
}

// tick reads the clock.
func (g *epoll) tick() { g.now = time.Since(g.began) }

// turn waits for events, at most wait, and deals with them.
func (g *epoll) turn(wait time.Duration) {
	n := g.wait(wait)
	g.tick()
	for i := range n {
		ev := &g.events[i]
		c := &g.conns[ev.Fd]
		if c.fd != ev.Pad || c.state == closed {
			continue
		}
		if ev.Events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
			g.writable(int(ev.Fd), c)
		}
		if ev.Events&^unix.EPOLLOUT != 0 && (!g.slow(int(ev.Fd)) || c.state == proving) {
			// A short read has read all that there is, but for the end of data.
			g.readable(int(ev.Fd), c, ev.Events&^(unix.EPOLLIN|unix.EPOLLOUT) != 0)
		}
		if g.err != nil && !g.opening {
			return
		}
	}
}

// wait is epoll_pwait2(2) with a timeout in nanoseconds, or epoll_wait(2) with one cut
// down to milliseconds where the kernel is older than 5.11. The first look does not wait,
// and so need not tell Go's scheduler.
func (g *epoll) wait(d time.Duration) int {
	// SAFETY: the kernel writes to g.events, and reads ts, during the call only.
	list, most := uintptr(unsafe.Pointer(&g.events[0])), uintptr(len(g.events))
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.epfd), list, most, 0, 0, 0)
	if errno == 0 && n > 0 || d <= 0 {
		return int(n)
	}
	ts := unix.NsecToTimespec(int64(d))
	n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(g.epfd), list, most, uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.ENOSYS {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(g.epfd), list, most, uintptr(d/time.Millisecond), 0, 0)
	}
	if errno != 0 {
		return 0 // a signal
	}
	return int(n)
}

// writable goes on with what waits for room, or for the connection to be there.
func (g *epoll) writable(i int, c *peer) {
	if c.state == dialing {
		errno, err := unix.GetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && errno != 0 {
			err = unix.Errno(errno)
		}
		if err != nil {
			g.fail(i, err)
			return
		}
		c.state = proving
		g.send(i, c, 1)
		return
	}
	c.full = false
	g.flush(i, c)
}

// send gives connection i another n messages to send.
func (g *epoll) send(i int, c *peer, n int64) {
	c.sent += n
	c.owed += n * int64(g.spec.Size)
	g.flush(i, c)
}

func (g *epoll) flush(i int, c *peer) {
	for c.owed > 0 && !c.full {
		want := int(min(c.owed, int64(len(g.pattern))-int64(c.out)))
		n, errno := transfer(unix.SYS_WRITE, c.fd, g.pattern[c.out:][:want])
		switch errno {
		case 0:
			c.owed -= int64(n)
			c.out = int32((int(c.out) + n) % g.spec.Size)
		case unix.EAGAIN:
			c.full = true
		default:
			g.fail(i, errno)
			return
		}
	}
}

// readable reads all that there is; to the very end if a short read is not taken for it.
func (g *epoll) readable(i int, c *peer, toTheEnd bool) {
	for c.state != closed {
		n, errno := transfer(unix.SYS_READ, c.fd, g.buf)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			g.fail(i, errno)
			return
		case n == 0:
			g.ended(i, c)
			return
		}
		g.tick()
		if !bytes.Equal(g.buf[:n], g.pattern[c.pos:][:n]) {
			g.fail(i, errGarbled)
			return
		}
		whole := (int64(c.pos) + int64(n)) / int64(g.spec.Size)
		c.pos = int32((int(c.pos) + n) % g.spec.Size)
		if whole > 0 {
			g.back(i, c, whole)
		}
		if n < len(g.buf) && !toTheEnd {
			return
		}
	}
}

// back deals with n messages that have come back.
func (g *epoll) back(i int, c *peer, n int64) {
	g.result.All += n
	first := c.back
	c.back += n
	if c.state == proving {
		g.proved++
		c.state = serving
		if !g.sends(i) {
			c.state = idle
			return
		}
		c.sent, c.back = 0, 0
		if g.sending { // it follows one that has ended
			if g.measured {
				g.result.Messages += n
				g.result.Connect.Add(g.now - c.times[0])
			}
			g.begin(i, c)
		}
		return
	}
	if c.state == idle { // an echo on demand
		g.proved++
		return
	}
	if g.measured {
		g.result.Messages += n
	}
	if g.open != nil {
		for k := range n {
			g.open.back(i, first+k, g.now)
		}
		return
	}
	for range n {
		if g.counted {
			g.result.Latency.Add(g.now - c.times[c.head])
		}
		c.times[c.head] = g.now
		if c.head++; int(c.head) == len(c.times) {
			c.head = 0
		}
	}
	if !g.sending {
		return
	}
	if g.spec.Churn > 0 {
		n = min(n, int64(g.spec.Churn)-c.sent)
		if c.back == int64(g.spec.Churn) {
			c.state = ending
			unix.Shutdown(int(c.fd), unix.SHUT_WR)
		}
	}
	g.send(i, c, n)
}

// begin has connection i of a closed loop send its first messages.
func (g *epoll) begin(i int, c *peer) {
	for k := range c.times {
		c.times[k] = g.now
	}
	c.head = 0
	depth := g.spec.Depth
	if g.spec.Churn > 0 {
		depth = min(depth, g.spec.Churn)
	}
	g.send(i, c, int64(depth))
}

// ended deals with the end of what the server sends: right only for a connection that has
// ended its own part.
func (g *epoll) ended(i int, c *peer) {
	if c.state != ending {
		g.fail(i, errEnded)
		return
	}
	unix.Close(int(c.fd))
	*c = peer{fd: -1, times: c.times}
	if g.sending {
		if g.measured {
			g.result.Connects++
		}
		g.dial(i)
	}
}

func (g *epoll) run(mark func(begins bool)) (Result, error) {
	g.tick()
	warm := g.now + g.spec.WarmUp
	end := warm + g.spec.Window
	if g.spec.Rate > 0 {
		g.open = &account{schedule: schedule{start: g.now, rate: g.spec.Rate, conns: int64(g.spec.Connections)},
			from: warm, to: end, latency: g.result.Latency, late: NewHistogram()}
	}
	if g.spec.Churn > 0 {
		g.result.Connect = NewHistogram()
	}
	g.sending = true
	g.slowAt = g.now
	if g.open == nil {
		for i := range g.spec.Connections {
			g.begin(i, &g.conns[i])
		}
	}
	g.started = g.result.All
	g.quiet.begin(g.started, g.now)
	g.until(warm)
	meter := startMeter(g.spec.Server)
	mark(true)
	g.inWindow(true)
	g.counted = true
	g.until(end)
	g.inWindow(false)
	meter.stop(g.spec.Server, &g.result)
	g.sending = false
	mark(false)
	g.settle(end)
	return g.result, g.err
}

// inWindow notes where the window begins and ends.
func (g *epoll) inWindow(in bool) {
	g.measured = in
	if g.open != nil {
		g.open.enter(in)
	}
}

// until makes the load until a time.
func (g *epoll) until(end time.Duration) {
	for g.err == nil {
		g.tick()
		wait := min(end-g.now, time.Second)
		if wait <= 0 {
			return
		}
		if g.open != nil {
			g.sendDue(end)
			wait = min(wait, max(g.open.due(g.next)-g.now, 0))
		}
		if g.spec.Slow > 0 {
			if g.now >= g.slowAt {
				g.slowTurn()
				g.slowAt = g.now + slowEvery
			}
			wait = min(wait, g.slowAt-g.now)
		}
		g.turn(wait)
		if g.quiet.heard(g.result.All, g.now) > g.spec.Patience && g.err == nil {
			g.err = g.unanswered()
		}
	}
}

// sendDue sends the messages that are due, so many of them that answers are not left lying
// where more are due than can be sent.
func (g *epoll) sendDue(end time.Duration) {
	for range 256 {
		if due := g.open.due(g.next); due > g.now || due >= end {
			return
		}
		i := g.open.on(g.next)
		g.tick() // each on its own: after a pause there are many
		g.open.sent(g.next, g.now)
		g.next++
		g.send(i, &g.conns[i], 1)
		if g.err != nil {
			return
		}
	}
}

// unsent notes that message k was not even sent by now.
func (a *account) unsent(k int64, now time.Duration) {
	if due := a.due(k); a.in(due) {
		a.late.Add(now - due)
		a.latency.Add(now - due)
		a.lost++
	}
}

// settle waits for the messages that are not back, and accounts for those that do not
// come. In a closed loop each has to, as long as others do; an open loop may be one that
// the server does not keep up with.
func (g *epoll) settle(end time.Duration) {
	g.tick()
	limit := g.now + drip*g.spec.Patience
	if g.open != nil {
		limit = g.now + grace
		// Those due before the end and not sent, because the last turn came back late.
		for g.err == nil && g.now < limit && g.open.due(g.next) < end {
			g.sendDue(end)
			g.turn(0)
		}
	}
	for g.err == nil && g.now < limit && g.quiet.heard(g.result.All, g.now) < grace && g.underWay() {
		g.turn(min(limit-g.now, glance))
	}
	if g.open != nil {
		for i := range g.spec.Connections {
			g.open.missing(i, g.conns[i].back, g.conns[i].sent, g.now)
		}
		for k := g.next; g.open.due(k) < end; k++ {
			g.open.unsent(k, g.now)
		}
		g.open.fill(&g.result)
	}
	if g.err == nil && (g.open == nil || g.quiet.heard(g.result.All, g.now) > grace/2) {
		g.err = g.unanswered()
	}
}

// underWay tells whether a message is not back, or a connection of a closed loop is
// between two lives.
func (g *epoll) underWay() bool {
	for i := range g.spec.Connections {
		if c := &g.conns[i]; c.state != serving && c.state != closed || c.sent > c.back {
			return true
		}
	}
	return false
}

// unanswered is the error of the messages that are not back, nil if there are none.
func (g *epoll) unanswered() error {
	u := unanswered{last: g.now - g.quiet.since, never: g.result.All == g.started}
	for i := range g.conns {
		c := &g.conns[i]
		if g.slow(i) || c.state == closed || c.state == ending || c.sent == c.back {
			continue
		}
		u.conns++
		u.messages += c.sent - c.back
		if g.open != nil {
			u.oldest = max(u.oldest, g.now-g.open.dueOn(i, c.back))
		} else if g.sends(i) {
			u.oldest = max(u.oldest, g.now-c.times[c.head])
		}
	}
	if u.conns == 0 {
		return g.between()
	}
	u.doing = g.quiet.doing(g.now)
	return u
}

// between is the error of connections that are between two lives and do not come out of
// that, nil if there are none.
func (g *epoll) between() error {
	for i := range g.spec.Connections {
		quiet := (g.now - g.quiet.since).Round(100 * time.Millisecond)
		switch g.conns[i].state {
		case dialing:
			return failure(i, notWithin("nobody has taken it", quiet, g.quiet.doing(g.now)))
		case ending:
			return failure(i, notWithin("the client has ended its output, and the server has not ended its own", quiet, g.quiet.doing(g.now)))
		}
	}
	return nil
}

// slowTurn has the slow connections read a little and send all that goes.
func (g *epoll) slowTurn() {
	for i := g.spec.Connections + g.spec.Idle; i < len(g.conns); i++ {
		c := &g.conns[i]
		n, errno := transfer(unix.SYS_READ, c.fd, g.buf[:slowRead])
		switch {
		case errno == unix.EAGAIN:
		case errno != 0:
			g.fail(i, errno)
			return
		case n == 0:
			g.fail(i, errEnded)
			return
		}
		if c.owed < 1<<20 {
			c.owed = math.MaxInt32 / int64(g.spec.Size) * int64(g.spec.Size)
		}
		c.full = false
		g.flush(i, c)
	}
}

func (g *epoll) echo() error {
	g.tick()
	g.proved, g.err = 0, nil
	asked := 0
	for i := range g.conns {
		c := &g.conns[i]
		if c.state != serving && c.state != idle {
			continue // it never came
		}
		c.state = idle
		g.send(i, c, 1)
		asked++
		for limit := g.now + g.spec.Patience; g.err == nil && asked-g.proved >= connecting; {
			g.turn(time.Second)
			if g.now > limit {
				g.err = g.noEcho(asked)
			}
		}
		if g.err != nil {
			break
		}
	}
	for limit := g.now + g.spec.Patience; g.err == nil && g.proved < asked; {
		g.turn(time.Second)
		if g.now > limit {
			g.err = g.noEcho(asked)
		}
	}
	return g.err
}

func (g *epoll) noEcho(asked int) error {
	return notWithin(fmt.Sprintf("%d of %d messages have not come back", asked-g.proved, asked), g.spec.Patience, "")
}

func (g *epoll) close() {
	for i := range g.conns {
		if g.conns[i].fd >= 0 {
			unix.Close(int(g.conns[i].fd))
			g.conns[i].fd = -1
		}
	}
	if g.epfd >= 0 {
		unix.Close(g.epfd)
		g.epfd = -1
	}
}

// transfer reads into p, or writes from it. The descriptor does not block, so Go's
// scheduler need not be told.
func transfer(call uintptr, fd int32, p []byte) (int, unix.Errno) {
	for {
		// SAFETY: the kernel uses p during the call only.
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		if errno == 0 {
			return int(n), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
