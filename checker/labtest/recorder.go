package labtest

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"iolab/lessons/engine"
)

// recorder stands between the engine and the service and holds the engine to the
// contract: which callbacks come, for whom, in what order.
type recorder struct {
	service engine.Handler
	thread  int // of the loop; 0 if the engine has several, which are told apart by their goroutines

	mu        sync.Mutex
	running   map[int]string // the callback that runs now, by loop
	byID      map[uint64]*life
	byPeer    map[netip.AddrPort]*life
	violation *violation
	opened    int
	ended     int
}

// life is what is known of one connection.
type life struct {
	conn   engine.Conn
	id     uint64
	loop   int   // of its first callback
	bytes  int64 // given to OnData
	closed bool
	err    error
}

// violation is a broken rule of the contract, with the cause it points to.
type violation struct {
	problem string
	cause   string
}

func newRecorder(service engine.Handler, thread int) *recorder {
	return &recorder{service: service, thread: thread, running: map[int]string{}, byID: map[uint64]*life{}, byPeer: map[netip.AddrPort]*life{}}
}

func (r *recorder) broken(cause, format string, args ...any) {
	if r.violation == nil {
		r.violation = &violation{fmt.Sprintf(format, args...), cause}
	}
}

func (r *recorder) firstViolation() (violation, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.violation == nil {
		return violation{}, false
	}
	return *r.violation, true
}

// unclosed reports a connection that was opened and has not got its OnClose.
func (r *recorder) unclosed() (violation, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened == r.ended {
		return violation{}, false
	}
	return violation{fmt.Sprintf("every connection should get its OnClose, but after Close %d of %d had none", r.opened-r.ended, r.opened), "close-without-onclose"}, true
}

// enter notes that a callback begins, and returns the connection's life.
func (r *recorder) enter(name string, c engine.Conn) *life {
	r.mu.Lock()
	defer r.mu.Unlock()
	loop := r.loop()
	if r.thread != 0 && loop != r.thread {
		r.broken("callback-on-another-goroutine", "every callback should run on the goroutine that calls Poll, but %s ran on another", name)
	}
	if outer := r.running[loop]; outer != "" {
		r.broken("callback-inside-callback", "no callback should run inside another, but %s was called while %s was running", name, outer)
	}
	r.running[loop] = name
	l := r.byID[c.ID()]
	switch {
	case name == "OnOpen" && l != nil:
		r.broken("id-reused", "each connection should have an ID that no other ever had, but %d came twice", c.ID())
	case name == "OnOpen":
	case l == nil:
		r.broken("callback-before-onopen", "OnOpen should be the first call for a connection, but %s came before it (ID %d)", name, c.ID())
	case l.closed && name == "OnClose":
		r.broken("onclose-twice", "OnClose should be called once for a connection, but came twice (ID %d)", c.ID())
	case l.closed:
		r.broken("callback-after-onclose", "OnClose should be the last call for a connection, but %s came after it (ID %d)", name, c.ID())
	}
	if l != nil && l.loop != loop && r.thread == 0 {
		r.broken("connection-changes-loops", "a connection should stay with the loop that accepted it, but its %s came on another's goroutine (ID %d)", name, c.ID())
	}
	if l == nil {
		l = &life{conn: c, id: c.ID(), loop: loop}
		r.byID[c.ID()] = l
		r.byPeer[c.RemoteAddr()] = l
	}
	return l
}

// loop is the number of the loop that the caller runs on: its thread, to which the
// lab has locked it, or its goroutine.
func (r *recorder) loop() int {
	if r.thread != 0 {
		return gettid()
	}
	var buf [64]byte
	words := strings.Fields(string(buf[:runtime.Stack(buf[:], false)])) // "goroutine 18 [running]: …"
	id, _ := strconv.Atoi(words[1])
	return id
}

func (r *recorder) leave() {
	r.mu.Lock()
	delete(r.running, r.loop())
	r.mu.Unlock()
}

// OnOpen implements engine.Handler.
func (r *recorder) OnOpen(c engine.Conn) {
	r.enter("OnOpen", c)
	r.mu.Lock()
	r.opened++
	r.mu.Unlock()
	r.service.OnOpen(c)
	r.leave()
}

// OnData implements engine.Handler.
func (r *recorder) OnData(c engine.Conn, data []byte) {
	l := r.enter("OnData", c)
	r.mu.Lock()
	l.bytes += int64(len(data))
	if len(data) == 0 {
		r.broken("empty-ondata", "OnData should be called with at least one byte, but was called with none (ID %d)", c.ID())
	}
	r.mu.Unlock()
	r.service.OnData(c, data)
	r.leave()
}

// OnClose implements engine.Handler.
func (r *recorder) OnClose(c engine.Conn, err error) {
	l := r.enter("OnClose", c)
	r.mu.Lock()
	r.ended++
	l.closed, l.err = true, err
	r.mu.Unlock()
	r.service.OnClose(c, err)
	r.mu.Lock()
	// The engine's memory is its own affair: the lab must not keep a connection from the
	// garbage collector that the engine has forgotten.
	l.conn = &gone{engine.NewIdentity(c.ID(), c.RemoteAddr())}
	r.mu.Unlock()
	r.leave()
}

// gone is a connection that has had its OnClose.
type gone struct{ engine.Identity }

// Send implements engine.Conn, and so do the others.
func (*gone) Send([]byte) error { return engine.ErrClosed }
func (*gone) Queued() int       { return 0 }
func (*gone) CloseWrite() error { return nil }
func (*gone) Close() error      { return nil }

// Thread identifies the operating system's thread that the caller runs on.
func Thread() int { return gettid() }

// strangers are the number of open connections, and the remote addresses, as the
// engine tells them, of those that are none of clients.
func (r *recorder) strangers(clients []*Client) (open int, addrs []netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for peer := range r.byPeer {
		if !slices.ContainsFunc(clients, func(c *Client) bool { return c.local == peer }) {
			addrs = append(addrs, peer)
		}
	}
	return r.opened - r.ended, addrs
}

// lookup is what is known of the connection whose client has address peer.
func (r *recorder) lookup(peer netip.AddrPort) (life, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.byPeer[peer]
	if !ok {
		return life{}, false
	}
	return *l, true
}
