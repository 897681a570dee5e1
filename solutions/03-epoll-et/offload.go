//go:build linux

package epollet

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
)

// Offloader is what the connections of this engine can do beside [engine.Conn]: a
// handler that has to wait for something (a disk, a database) asks for it by
// c.(epollet.Offloader) and does not hold the loop up.
type Offloader interface {
	engine.Conn

	// Offload runs work on a goroutine of its own and then sends what it returns,
	// which may be nothing. Until then the connection rests: nothing is read from
	// it, so that its answers stay in order, nothing of its queue is written, and
	// its end or its reset is not noticed. Other connections go on. work must not
	// touch the connection, nor anything else that belongs to the loop. If the
	// handler closes the connection before work is done, the answer is dropped; an
	// answer past Config.HardLimit ends the connection with
	// [engine.ErrBackpressure]. The engine does not wait for work when it is closed;
	// Shutdown does, within its deadline.
	//
	// Offload returns [engine.ErrClosed] after Close and CloseWrite, and
	// [ErrOffloaded] while earlier work is under way. It belongs to the loop.
	Offload(work func() []byte) error
}

// ErrOffloaded: the connection is with another goroutine already.
var ErrOffloaded = errors.New("offloaded already")

// Offload implements [Offloader].
func (c *conn) Offload(work func() []byte) error {
	switch {
	case c.closed || c.finish:
		return engine.ErrClosed
	case c.away:
		return ErrOffloaded
	}
	// EPOLLHUP and EPOLLERR come unasked even where nothing is asked for, at each
	// change; with EPOLLONESHOT the kernel says one word at most, and is silent until
	// handBack.
	if err := c.e.ctl(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLONESHOT, c.generation()); err != nil {
		c.end(err)
		return err
	}
	c.away = true
	go func() { c.handBack(work()) }()
	return nil
}

// handBack leaves the answer for the loop and arms the connection again. It is
// the one function of the engine, beside Wake, that runs on another goroutine.
func (c *conn) handBack(data []byte) {
	e := c.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.gone {
		return // its descriptor may by now be another connection's
	}
	c.back = &answer{data, time.Now()}
	// The loop may be in epoll_wait: epoll_ctl is made for that. It looks at the socket
	// anew, so what happened meanwhile makes an edge, and so does room to write. Without
	// room the answer could not be sent anyway, and there is an edge when there is some.
	// (Not e.ctl, which counts: the counters are the loop's.)
	_ = unix.EpollCtl(e.epfd, unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: edges, Fd: int32(c.fd), Pad: c.generation()})
}

// takeBack sends the answer, if it is there.
func (c *conn) takeBack() bool {
	e := c.e
	e.mu.Lock()
	back := c.back
	c.back = nil
	e.mu.Unlock()
	if back == nil || c.closed {
		return false
	}
	c.away, c.active = false, back.at
	e.stats.Calls[engine.CallEpollCtl]++ // handBack's
	if err := c.send(back.data); err != nil {
		c.end(err)
		return false
	}
	if c.finish && c.queue.Len() == 0 {
		c.sendFIN()
	}
	return true
}

// backSince is when the work of a connection that is away was done; now, if it is not.
func (c *conn) backSince() time.Time {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if c.back == nil {
		return c.e.now
	}
	return c.back.at
}
