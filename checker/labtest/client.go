package labtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"iolab/checker/probe"
	"iolab/lessons/engine"
)

// Client is the other end of one connection.
type Client struct {
	l     *Lab
	Name  string
	conn  *net.TCPConn
	local netip.AddrPort

	sent     atomic.Int64
	received atomic.Int64
	sending  sync.WaitGroup
	sentAll  atomic.Bool // SendInBackground has come to its end
	sendErr  error
	ended    atomic.Bool // it has ended its output
	wasReset atomic.Bool // it has reset its connection
	seen     []byte      // the last bytes that it has read and wanted
	suspects []Rule
	echo     chan echoed // see EchoInBackground
	serverFD int         // where the server's end was last seen
}

// Dial connects a client.
func (l *Lab) Dial() *Client {
	l.t.Helper()
	c := l.dial(net.Dialer{})
	l.Did("%s connects", c.Name)
	return c
}

// DialSmall connects a client with a small receive buffer, so that it soon holds
// the server up when it does not read.
func (l *Lab) DialSmall() *Client {
	l.t.Helper()
	c := l.dial(net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { setReceiveBuffer(fd, 4096) })
	}})
	l.Did("%s connects, with a receive buffer of 4 KiB", c.Name)
	return c
}

// DialMany connects n clients.
func (l *Lab) DialMany(n int) []*Client {
	l.t.Helper()
	l.Did("%d clients connect", n)
	clients := make([]*Client, n)
	for i := range clients {
		clients[i] = l.dial(net.Dialer{})
	}
	return clients
}

func (l *Lab) dial(d net.Dialer) *Client {
	l.t.Helper()
	l.healthy()
	d.Timeout = Patience
	conn, err := d.Dial("tcp", l.Addr())
	if err != nil {
		l.healthy()
		l.Did("client %d connects", len(l.clients)+1)
		l.Got("%v", err)
		l.Fail(Failure{Symptom: ConnectFails, Err: err, Problem: fmt.Sprintf("a client should be able to connect to %s, but got %q", l.Addr(), err)})
	}
	c := &Client{l: l, Name: fmt.Sprintf("client %d", len(l.clients)+1), conn: conn.(*net.TCPConn), serverFD: -1}
	c.local = conn.LocalAddr().(*net.TCPAddr).AddrPort()
	l.clients = append(l.clients, c)
	go func() { // nobody answers any more: what waits on the client need not wait on
		<-l.loop.dead
		c.conn.SetDeadline(longAgo)
	}()
	return c
}

var longAgo = time.Unix(1, 0)

// readWithin and writeWithin set how long the next calls may wait: not at all when the
// loop is dead.
func (c *Client) readWithin(d time.Duration) {
	c.conn.SetReadDeadline(time.Now().Add(d))
	if c.l.loopDead() {
		c.conn.SetReadDeadline(longAgo)
	}
}

func (c *Client) writeWithin(d time.Duration) {
	c.conn.SetWriteDeadline(time.Now().Add(d))
	if c.l.loopDead() {
		c.conn.SetWriteDeadline(longAgo)
	}
}

// Visit connects a client that belongs to no lab, has it send a byte, and returns the
// function that resets it. It says nothing of errors: it is there to be in the way.
func Visit(addr netip.AddrPort) (reset func()) {
	conn, err := net.DialTimeout("tcp", addr.String(), Patience)
	if err != nil {
		return func() {}
	}
	conn.Write([]byte{'.'})
	return func() {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// Local is the client's address: what the server sees as the remote one.
func (c *Client) Local() netip.AddrPort { return c.local }

// Pattern is n bytes that no shifted or repeated piece of itself is equal to; each
// seed gives others.
func Pattern(seed, n int) []byte {
	p := make([]byte, n+8)
	x := uint64(seed)*0x9E3779B97F4A7C15 + 1
	for i := 0; i < n; i += 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		binary.LittleEndian.PutUint64(p[i:], x)
	}
	return p[:n:n]
}

// Send sends data and waits until the kernel has it all.
func (c *Client) Send(data []byte) {
	c.l.t.Helper()
	c.l.Did("%s sends %s", c.Name, count(len(data)))
	c.SendQuietly(data)
}

// SendQuietly is Send without a line in the story, for clients that talk much.
func (c *Client) SendQuietly(data []byte) {
	c.l.t.Helper()
	if err := c.write(data); err != nil {
		c.l.healthy()
		c.l.Got("%v", err)
		c.l.Fail(Failure{Symptom: symptomOf(err, SendStalls), Client: c, Err: err,
			Problem: fmt.Sprintf("%s should be able to send %s, but after %d: %v", c.Name, count(len(data)), c.sent.Load(), plain(err))})
	}
}

// SendFromCallback sends data and waits until the server's kernel has it, from inside
// a callback of the handler: a word on failure would end the wrong goroutine, so there
// is none, and what the client misses later is reported.
func (c *Client) SendFromCallback(data []byte) {
	if c.write(data) == nil {
		c.delivered()
	}
}

// write sends data; its deadline moves on as long as bytes do.
func (c *Client) write(data []byte) error {
	for len(data) > 0 {
		c.writeWithin(Patience)
		n, err := c.conn.Write(data[:min(len(data), 64<<10)])
		c.sent.Add(int64(n))
		data = data[n:]
		if err != nil {
			return err
		}
	}
	return nil
}

// SendInBackground sends data from a goroutine of its own, for a client that sends
// more than the server will take before it is read from. [Client.WaitSent] waits
// for it.
func (c *Client) SendInBackground(data []byte) {
	c.l.Did("%s begins to send %s", c.Name, count(len(data)))
	c.sentAll.Store(false)
	c.sending.Go(func() {
		defer c.sentAll.Store(true)
		for len(data) > 0 {
			// No deadline: a server that pauses a client that does not read is right.
			c.conn.SetWriteDeadline(time.Time{})
			n, err := c.conn.Write(data[:min(len(data), 64<<10)])
			c.sent.Add(int64(n))
			data = data[n:]
			if err != nil {
				c.sendErr = err
				return
			}
		}
	})
}

// EchoInBackground sends data and reads it back from goroutines of their own.
// [Client.WaitEchoed] waits for both.
func (c *Client) EchoInBackground(data []byte) {
	c.SendInBackground(data)
	c.echo = make(chan echoed, 1)
	go func() {
		got := make([]byte, len(data))
		n, err := io.ReadFull(c.conn, got)
		c.received.Add(int64(n))
		c.echo <- echoed{firstDifference(got[:n], data[:n]), n, err}
	}()
}

// echoed is what came of an EchoInBackground.
type echoed struct {
	differs int // offset of the first wrong byte, or -1
	n       int // bytes that came
	err     error
}

// Echoed tells whether EchoInBackground has come to an end.
func (c *Client) Echoed() bool { return len(c.echo) > 0 }

// WaitEchoed waits for EchoInBackground, and wants all of it back.
func (c *Client) WaitEchoed() {
	c.l.t.Helper()
	c.WaitSent()
	c.readWithin(4 * Patience)
	e := <-c.echo
	c.conn.SetReadDeadline(time.Time{})
	switch {
	case e.differs >= 0:
		c.l.healthy()
		c.l.Fail(Failure{Symptom: WrongBytes, Client: c, Offset: int64(e.differs),
			Problem: fmt.Sprintf("%s should read back what it sent, but byte %d is the first that differs", c.Name, e.differs)})
	case e.err != nil:
		c.l.healthy()
		c.l.Fail(Failure{Symptom: symptomOf(e.err, NoData), Client: c, Err: e.err, Offset: int64(e.n),
			Problem: fmt.Sprintf("%s should read back all it sent, but got %s and then %s", c.Name, count(e.n), plain(e.err))})
	}
}

// WaitSent waits for SendInBackground.
func (c *Client) WaitSent() {
	c.l.t.Helper()
	done := make(chan struct{})
	go func() { c.sending.Wait(); close(done) }()
	c.awaitProgress(done, &c.sent, Failure{Symptom: SendStalls, Client: c,
		Problem: fmt.Sprintf("%s should be able to send all it has once it reads, but the server takes no more", c.Name)})
	if c.sendErr != nil {
		c.l.healthy()
		c.l.Fail(Failure{Symptom: symptomOf(c.sendErr, SendStalls), Client: c, Err: c.sendErr,
			Problem: fmt.Sprintf("%s should be able to send all it has, but after %s: %v", c.Name, count(int(c.sent.Load())), plain(c.sendErr))})
	}
}

// awaitProgress waits for done as long as moving moves.
func (c *Client) awaitProgress(done <-chan struct{}, moving *atomic.Int64, f Failure) {
	c.l.t.Helper()
	last, deadline := moving.Load(), time.Now().Add(Patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if c.l.loopDead() {
			c.l.healthy()
		}
		if now := moving.Load(); now != last {
			last, deadline = now, time.Now().Add(Patience)
		}
		if time.Now().After(deadline) {
			c.l.healthy()
			c.l.Fail(f)
		}
	}
}

// WaitStalled waits until the server takes no more from a client that sends in the
// background and does not read, and returns how many bytes it took.
func (c *Client) WaitStalled() int64 {
	c.l.t.Helper()
	c.l.Did("%s does not read, and waits until the server takes no more", c.Name)
	var last flow
	since, turns := time.Now(), c.l.loop.turns.Load()
	for quiet := time.Duration(0); quiet < 300*time.Millisecond; quiet = time.Since(since) {
		now := c.flow()
		if now != last {
			last, since, turns = now, time.Now(), c.l.loop.turns.Load()
		}
		c.l.healthy()
		// Where the kernel shows its queues there is no need to wait so long: all has been
		// taken; or the client has more, the server's kernel has bytes too, and a few turns
		// of the loop, if it makes any, have gone by that took none.
		if now.seen && (now.taken() || quiet > 100*time.Millisecond && now.stuck() && (c.l.paused || c.l.loop.turns.Load()-turns >= 5)) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.l.Got("it took %s", count(int(last.sent)))
	return last.sent
}

// flow is where a background sender's bytes are.
type flow struct {
	sent, received int64 // by the client's kernel, by OnData
	unsent, unread int   // in the client's send queue, in the server's receive queue
	done           bool  // the client's kernel has all
	seen           bool  // the queues could be looked at
}

func (f flow) taken() bool { return f.done && f.unsent == 0 && f.unread == 0 && f.received == f.sent }
func (f flow) stuck() bool { return f.unsent > 0 && f.unread > 0 }

func (c *Client) flow() flow {
	f := flow{sent: c.sent.Load(), received: c.Received(), done: c.sentAll.Load()}
	client, err := c.sock()
	if err != nil || c.l.several {
		return f
	}
	if _, ok := probe.Arrived(c.serverFD, c.local); !ok {
		c.serverFD = c.ServerFD()
	}
	if server, err := probe.Queues(c.serverFD); err == nil {
		f.unsent, f.unread, f.seen = client.Unsent, server.Unread, true
	}
	return f
}

// Want reads as many bytes as want has and compares them.
func (c *Client) Want(want []byte) {
	c.l.t.Helper()
	c.l.Did("%s reads %s", c.Name, count(len(want)))
	c.want(want)
}

// WantQuietly is Want without a line in the story, for clients that talk much.
func (c *Client) WantQuietly(want []byte) {
	c.l.t.Helper()
	c.want(want)
}

func (c *Client) want(want []byte) {
	c.l.t.Helper()
	got := make([]byte, len(want))
	n, err := c.read(got)
	if i := firstDifference(got[:n], want[:n]); i >= 0 {
		c.l.Got("other bytes from offset %d on: %s instead of %s", i, quote(got[i:n]), quote(want[i:n]))
		c.l.Fail(Failure{Symptom: WrongBytes, Client: c, Offset: int64(i), Got: got[:n], Want: want,
			Problem: fmt.Sprintf("%s should read back what it sent, but byte %d is the first that differs", c.Name, i)})
	}
	if err == nil {
		c.seen = append(c.seen, want[max(0, len(want)-lookBack):]...)
		c.seen = c.seen[max(0, len(c.seen)-lookBack):]
		return
	}
	c.l.healthy()
	what := fmt.Sprintf("%s of %s", count(n), count(len(want)))
	c.l.Got("%s, then %s", what, plain(err))
	c.l.Fail(Failure{Symptom: symptomOf(err, NoData), Client: c, Err: err, Offset: int64(n),
		Problem: fmt.Sprintf("%s should read %s, but got %s and then %s", c.Name, count(len(want)), count(n), plain(err))})
}

// lookBack is how many bytes of the past are kept, to know them when they come again.
const lookBack = 64 << 10

// read fills p; its deadline moves on as long as bytes do.
func (c *Client) read(p []byte) (n int, err error) {
	for n < len(p) {
		c.readWithin(Patience)
		m, err := c.conn.Read(p[n:])
		n += m
		c.received.Add(int64(m))
		if err != nil {
			return n, err
		}
		if c.l.loopDead() {
			c.l.healthy()
		}
	}
	return n, nil
}

// Echo sends data and wants it back.
func (c *Client) Echo(data []byte) {
	c.l.t.Helper()
	c.Send(data)
	c.Want(data)
}

// EchoQuietly is Echo without lines in the story, for clients that talk much.
func (c *Client) EchoQuietly(data []byte) {
	c.l.t.Helper()
	c.SendQuietly(data)
	c.want(data)
}

// CloseWrite ends the client's output (half-close).
func (c *Client) CloseWrite() {
	c.l.t.Helper()
	c.l.Did("%s ends its output (shutdown(SHUT_WR), FIN)", c.Name)
	c.ended.Store(true)
	if err := c.conn.CloseWrite(); err != nil {
		c.l.healthy()
		c.l.Fail(Failure{Symptom: symptomOf(err, EarlyReset), Client: c, Err: err,
			Problem: fmt.Sprintf("%s should be able to end its output, but the connection is gone: %v", c.Name, plain(err))})
	}
}

// Close closes the client's socket.
func (c *Client) Close() {
	c.l.Did("%s closes", c.Name)
	c.conn.Close()
}

// CloseAll closes clients.
func (l *Lab) CloseAll(clients []*Client) {
	l.Did("%d clients close", len(clients))
	for _, c := range clients {
		c.conn.Close()
	}
}

// Reset closes the client's socket with a reset (SO_LINGER 0, RST).
func (c *Client) Reset() {
	c.l.Did("%s resets the connection (SO_LINGER 0, RST)", c.Name)
	c.wasReset.Store(true)
	c.reset()
}

func (c *Client) reset() {
	c.conn.SetLinger(0)
	c.conn.Close()
}

// abandon closes the socket at the end of a test.
func (c *Client) abandon() { c.reset() }

// WantEOF waits for the server's end of data, and wants nothing before it.
func (c *Client) WantEOF() {
	c.l.t.Helper()
	c.l.Did("%s waits for the end of data", c.Name)
	var b [1]byte
	n, err := c.read(b[:])
	if err == io.EOF {
		return
	}
	c.l.healthy()
	if n > 0 {
		c.l.Got("another byte: %s", quote(b[:n]))
		c.l.Fail(Failure{Symptom: WrongBytes, Client: c, Got: b[:n], Problem: fmt.Sprintf("%s should see the end of data (FIN), but got another byte, %s", c.Name, quote(b[:n]))})
	}
	c.l.Got("%s", plain(err))
	c.l.Fail(Failure{Symptom: symptomOf(err, NoEOF), Client: c, Err: err, Problem: fmt.Sprintf("%s should see the end of data (FIN), but: %s", c.Name, plain(err))})
}

// WantGone waits until the connection is over, in order or by a reset, dropping
// what still comes.
func (c *Client) WantGone() {
	c.l.t.Helper()
	c.l.Did("%s waits for the server to close", c.Name)
	buf := make([]byte, 64<<10)
	for {
		c.readWithin(Patience)
		_, err := c.conn.Read(buf)
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.l.healthy()
			c.l.Got("nothing")
			c.l.Fail(Failure{Symptom: NoEOF, Client: c, Err: err, Problem: fmt.Sprintf("the server should close the connection of %s, but leaves it open", c.Name)})
		}
		return
	}
}

// WantClosed waits until the engine has called OnClose for this client's
// connection, and returns the error it gave.
func (c *Client) WantClosed() (err error) {
	c.l.t.Helper()
	return c.WantClosedAfter(0)
}

// WantClosedAfter is WantClosed where the engine has to let so much time go by first.
func (c *Client) WantClosedAfter(d time.Duration) (err error) {
	c.l.t.Helper()
	c.l.Did("wait for the OnClose of %s", c.Name)
	c.l.eventually(d+Patience, Failure{Symptom: NoOnClose, Client: c, Problem: fmt.Sprintf("OnClose should be called for %s, but is not", c.Name)},
		func(engine.Engine) bool {
			life, ok := c.l.service.lookup(c.local)
			err = life.err
			return ok && life.closed
		})
	return err
}

// WantOpen waits until the engine has called OnOpen for this client, and returns
// the server's end.
func (c *Client) WantOpen() (conn engine.Conn) {
	c.l.t.Helper()
	c.l.Eventually(Failure{Symptom: CountLow, Client: c, Problem: fmt.Sprintf("OnOpen should be called for %s, but is not", c.Name)},
		func(engine.Engine) bool {
			life, ok := c.l.service.lookup(c.local)
			conn = life.conn
			return ok
		})
	return conn
}

// Received is the number of bytes that the engine has given to OnData for this
// client.
func (c *Client) Received() int64 {
	life, _ := c.l.service.lookup(c.local)
	return life.bytes
}

// Suspect adds rules to the reports about this client, before the general ones.
func (c *Client) Suspect(rules ...Rule) { c.suspects = rules }

// Ping sends one byte and reads what there is, without a word about errors: for a
// client that only has to be active, on another goroutine than the test's.
func (c *Client) Ping() {
	c.readWithin(Patience)
	c.writeWithin(Patience)
	var b [64]byte
	if _, err := c.conn.Write([]byte{'.'}); err == nil {
		c.conn.Read(b[:])
	}
}

// Chirp sends one byte of another kind than Ping's, and does not wait for anything.
func (c *Client) Chirp() {
	c.conn.SetWriteDeadline(time.Now().Add(Patience))
	c.conn.Write([]byte{'!'})
}

// Sip reads n bytes, or what comes of them before the end.
func (c *Client) Sip(n int) {
	c.conn.SetReadDeadline(time.Now().Add(Patience))
	io.ReadFull(c.conn, make([]byte, n))
}

// IsClosed tells whether OnClose has been called for this client.
func (c *Client) IsClosed() bool {
	life, _ := c.l.service.lookup(c.local)
	return life.closed
}

// WaitDelivered waits until the server's kernel has everything that this client has
// sent, its end of data included. What the engine has made of it is another matter: on
// a completion engine the kernel may have filled its buffers by itself.
func (c *Client) WaitDelivered() {
	c.l.t.Helper()
	if !c.delivered() {
		c.l.t.Fatal("the kernel does not deliver on loopback: this is the machine's fault, not the server's")
	}
}

// Settle is called when something has been delivered. A lesson whose kernel is emulated
// sets it, so that its kernel has done what it does by itself before the test goes on.
var Settle = func() {}

func (c *Client) delivered() bool {
	defer Settle()
	deadline := time.Now().Add(Patience)
	for time.Now().Before(deadline) {
		sock, err := c.sock()
		if err != nil {
			return true // not to be seen here: loopback has delivered it by now in all likelihood
		}
		if sock.Unsent == 0 && sock.State != "FIN_WAIT1" || sock.State == "CLOSE" { // reset: the next call will say so
			return true
		}
		if !c.ended.Load() && c.arrived() {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}

// arrived tells whether all that the client has sent is on the server's side already,
// though perhaps not acknowledged.
func (c *Client) arrived() bool {
	n, ok := probe.Arrived(c.serverFD, c.local)
	if !ok {
		c.serverFD = c.ServerFD()
		n, ok = probe.Arrived(c.serverFD, c.local)
	}
	return ok && n >= c.sent.Load()
}

// Held is how many bytes the engine itself holds of what this client, which has read
// nothing, was sent back by an echo: what OnData got, less what is in the kernel's
// queues. It is -1 where the queues cannot be seen.
func (c *Client) Held() int64 {
	c.l.t.Helper()
	end, ok := probe.SocketByPeer(os.Getpid(), c.local)
	if !ok {
		return -1
	}
	server, err := probe.Queues(end.Num)
	if err != nil {
		return -1
	}
	client, err := c.sock()
	if err != nil {
		return -1
	}
	return c.Received() - int64(server.Unsent) - int64(client.Unread)
}

// sock is the kernel's view of the client's socket.
func (c *Client) sock() (s probe.Sock, err error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return s, err
	}
	if ctlErr := raw.Control(func(fd uintptr) { s, err = probe.Queues(int(fd)) }); ctlErr != nil {
		return s, ctlErr
	}
	return s, err
}

// WaitMoving waits until n bytes of SendInBackground are under way.
func (c *Client) WaitMoving(n int64) {
	c.l.t.Helper()
	deadline := time.Now().Add(Patience)
	for c.sent.Load() < n {
		if time.Now().After(deadline) {
			c.l.healthy()
			c.l.Fail(Failure{Symptom: SendStalls, Client: c, Problem: fmt.Sprintf("the server should take %d bytes from %s, but took %d", n, c.Name, c.sent.Load())})
		}
		time.Sleep(time.Millisecond)
	}
}

// CloseWriteWhenSent ends the client's output as soon as SendInBackground has sent
// everything.
func (c *Client) CloseWriteWhenSent() {
	c.l.Did("%s ends its output (FIN) when all is sent", c.Name)
	go func() {
		c.sending.Wait()
		c.ended.Store(true)
		c.conn.CloseWrite()
	}()
}

// EchoOrGone sends data and tells whether it came back; false means that the server
// has closed the connection. Neither is a failure, silence is.
func (c *Client) EchoOrGone(data []byte) bool {
	c.l.t.Helper()
	c.l.healthy()
	c.readWithin(Patience)
	c.writeWithin(Patience)
	if _, err := c.conn.Write(data); err != nil {
		return false
	}
	got := make([]byte, len(data))
	n, err := c.read(got)
	if err == nil && string(got) == string(data) {
		return true
	}
	if s := symptomOf(err, NoData); err == nil || s == NoData {
		c.l.healthy()
		c.l.Fail(Failure{Symptom: NoData, Client: c, Err: err, Suspects: []Rule{{ID: "accept-never-resumed", When: func(s *Scene) bool { return !s.HasFD }}},
			Problem: fmt.Sprintf("%s, which waited while there were no descriptors, should be served or refused when there are, but after %d bytes: %v", c.Name, n, plain(err))})
	}
	return false
}

// ServerFD is the descriptor of the server's end, -1 if it cannot be found.
func (c *Client) ServerFD() int {
	if fd, ok := probe.SocketByPeer(os.Getpid(), c.local); ok {
		return fd.Num
	}
	return -1
}

func (l *Lab) loopDead() bool {
	select {
	case <-l.loop.dead:
		return true
	default:
		return false
	}
}

// symptomOf is what a client's error says, or stalled if it waited in vain.
func symptomOf(err error, stalled Symptom) Symptom {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return stalled
	case err == io.EOF:
		return EarlyEOF
	default:
		return EarlyReset
	}
}

// plain is a client's error in words.
func plain(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("nothing for %v", Patience)
	case err == io.EOF:
		return "the end of data (FIN)"
	case IsReset(err):
		return "connection reset by peer (RST)"
	}
	return err.Error()
}

// count is a number of bytes, in words.
func count(n int) string {
	switch {
	case n == 1:
		return "1 byte"
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// quote shows the first bytes of p.
func quote(p []byte) string {
	if len(p) > 12 {
		return fmt.Sprintf("%q…", p[:12])
	}
	return fmt.Sprintf("%q", p)
}

func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return -1
}
