//go:build linux

package epollet

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/engine"
)

// What step 8 needs and the skeleton does not use yet. It goes when you are done.
var _ = []any{unix.EPOLLONESHOT}

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
//
// TODO step 8: what may not be offloaded is refused. Then out of the loop's sight with EPOLLONESHOT, work on
// a goroutine of its own, and after it handBack.
func (c *conn) Offload(work func() []byte) error {
	panic(engine.NotImplemented("03.8", "Conn.Offload"))
}

// handBack leaves the answer for the loop and arms the connection again. It is
// the one function of the engine, beside Wake, that runs on another goroutine.
//
// TODO step 8: under e.mu: is the connection still there? Then leave the answer and the time in c,
// and arm it again with edges, by unix.EpollCtl: e.ctl counts, and the counters are the loop's.
func (c *conn) handBack(data []byte) {
	panic(engine.NotImplemented("03.8", "Conn.handBack"))
}

// takeBack sends the answer, if it is there.
//
// TODO step 8: under e.mu: is the answer there? Then the connection is back: send it, and the FIN
// that a CloseWrite has left for the end. It returns whether c is back, and alive.
func (c *conn) takeBack() bool {
	panic(engine.NotImplemented("03.8", "Conn.takeBack"))
}

// backSince is when the work of a connection that is away was done; now, if it is not.
//
// TODO step 8: under e.mu: e.now while the work is not done.
func (c *conn) backSince() time.Time {
	panic(engine.NotImplemented("03.8", "Conn.backSince"))
}
