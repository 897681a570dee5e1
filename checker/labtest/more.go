package labtest

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"iolab/checker/probe"
)

// LastGot is what came back for the last line of the story, empty if it was as
// expected.
func (l *Lab) LastGot() string { return l.story[len(l.story)-1].Got }

// SuspectNext adds rules to every report from here on, before the general ones.
func (l *Lab) SuspectNext(rules ...Rule) { l.suspects = rules }

// Suspect adds rules to the reports about this client, before the general ones.
func (c *Client) Suspect(rules ...Rule) { c.suspects = rules }

// TurnWithin is Turn for a timeout that must not be waited for to its end: a turn
// that has not come back after [Patience] is woken by a client, and reported by the
// time it took.
func (l *Lab) TurnWithin(timeout time.Duration) (took time.Duration) {
	l.t.Helper()
	done := make(chan struct{})
	var err error
	start := time.Now()
	request := func() { err = l.engine.Poll(timeout); close(done) }
	l.healthy()
	select {
	case l.loop.requests <- request:
	case <-l.loop.dead:
		l.healthy()
	}
	select {
	case <-done:
	case <-l.loop.dead:
		l.healthy()
	case <-time.After(Patience):
		return time.Since(start)
	}
	if err != nil {
		l.failFault(fault{err: err})
	}
	return time.Since(start)
}

// InBackground runs f on a goroutine of its own until the returned function is
// called, which waits for it.
func (l *Lab) InBackground(f func(done <-chan struct{})) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); f(done) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(done)
			<-ended
		}
	}
	l.t.Cleanup(stop)
	return stop
}

// Ping sends one byte and reads what there is, without a word about errors: for a
// client that only has to be active, on another goroutine than the test's.
func (c *Client) Ping() {
	c.conn.SetDeadline(time.Now().Add(Patience))
	var b [64]byte
	if _, err := c.conn.Write([]byte{'.'}); err == nil {
		c.conn.Read(b[:])
	}
}

// IsClosed tells whether OnClose has been called for this client.
func (c *Client) IsClosed() bool {
	life, _ := c.l.service.lookup(c.local)
	return life.closed
}

// WaitReceived waits until the server's kernel has at least n bytes of this client
// that the engine has not read, or, for n = 0, its end of data.
func (c *Client) WaitReceived(n int) {
	c.l.t.Helper()
	deadline := time.Now().Add(Patience)
	for time.Now().Before(deadline) {
		fd, ok := probe.SocketByPeer(os.Getpid(), c.local)
		if !ok {
			return // not to be seen here: loopback has delivered it by now in all likelihood
		}
		sock, err := probe.Queues(fd.Num)
		if err != nil || n > 0 && sock.Unread >= n || n == 0 && sock.State == "CLOSE_WAIT" {
			return
		}
		time.Sleep(time.Millisecond)
	}
	c.l.t.Fatal("the kernel does not deliver on loopback: this is the machine's fault, not the server's")
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
	c.conn.SetDeadline(time.Now().Add(Patience))
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

// UntilRefused connects to addr until that is refused.
func (l *Lab) UntilRefused(addr string) {
	l.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		c, err := net.DialTimeout("tcp", addr, Patience)
		if err != nil {
			return
		}
		c.Close()
		if time.Now().After(deadline) {
			l.Fail(Failure{Symptom: WrongResult, Suspect: "shutdown-still-accepts", Problem: "after Shutdown nobody should be able to connect, but a client can"})
		}
		time.Sleep(time.Millisecond)
	}
}

// Reserve keeps a descriptor for later.
func Reserve(t testing.TB) *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// ServerFD is the descriptor of the server's end, -1 if it cannot be found.
func (c *Client) ServerFD() int {
	if fd, ok := probe.SocketByPeer(os.Getpid(), c.local); ok {
		return fd.Num
	}
	return -1
}

// EpollTable is the interest list of the engine's epoll instances.
func (l *Lab) EpollTable() []probe.Interest {
	l.t.Helper()
	fds, err := probe.FDs(os.Getpid())
	if err != nil {
		l.t.Fatal(err)
	}
	var table []probe.Interest
	for _, fd := range fds {
		if fd.Kind == "epoll" && !l.epfds[fd.Num] {
			t, err := probe.EpollTable(os.Getpid(), fd.Num)
			if err != nil {
				l.t.Fatal(err)
			}
			table = append(table, t...)
		}
	}
	return table
}

// Listener is the descriptor of the engine's listener, -1 if there is none.
func (l *Lab) Listener() int {
	l.t.Helper()
	fds, _ := probe.FDs(os.Getpid())
	for _, fd := range fds {
		if fd.Kind == "listener" && fd.Local == l.engine.Addr() {
			return fd.Num
		}
	}
	return -1
}
