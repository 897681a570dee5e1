// Package engine is the contract that every lesson's server fulfils, and the
// small parts that are the same in all of them.
//
// An [Engine] multiplexes connections; a [Handler] is the service on top. The
// two halves meet in three callbacks and in [Conn]. The contract says nothing
// of readiness or completion, so that one echo service and one game server run
// on select, epoll, kqueue, IOCP and io_uring alike.
//
// # One loop, one goroutine
//
// Somebody calls [Engine.Poll] again and again: that goroutine is the loop.
// Every method of Engine, Conn and Handler belongs to it, except Addr and Wake,
// which any goroutine may call. There are no locks because there is nothing to
// share; a goroutine with news for the loop leaves it where the loop will look
// and calls Wake.
//
// # A connection's life
//
//		OnOpen ── OnData* ── OnClose
//
//	  - OnOpen is the first call for a connection and OnClose the last. Each is
//	    made exactly once, whoever ended the connection.
//	  - No callback is made from inside another, nor from inside Send, CloseWrite
//	    or Close: a connection closed by its handler gets its OnClose when the
//	    running callback has returned, before Poll does.
//	  - The peer's end of data (a half-close) ends the input, not the output: what
//	    is queued is still sent, then the connection closes with a nil error.
//	  - After Close no OnData comes any more, not even for events that the kernel
//	    had already reported.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Engine is a TCP server without a service: it accepts, reads, writes and
// closes, and leaves the meaning of the bytes to its [Handler]. Each lesson has
// a constructor
//
//	func New(cfg engine.Config, handler engine.Handler) (*Engine, error)
//
// that listens at once, so that clients can connect (and wait in the accept
// queue) before the first Poll.
type Engine interface {
	// Addr is where the engine listens, with the port the kernel chose if the
	// configuration asked for port 0. Any goroutine may call it, also after Close.
	Addr() netip.AddrPort

	// Poll makes one turn of the loop: it waits until something is ready or
	// complete, calls the handler for it, and returns. It waits at most timeout,
	// not at all if timeout is 0, and without limit if it is negative. A timeout
	// is rounded up to what the kernel can express, never down: a wait cut short
	// by rounding is a busy loop. Poll may return early with nothing done (Wake, a
	// signal, a timeout longer than the mechanism knows). An error means that the
	// loop cannot go on; the failure of a single connection is never one, it goes to
	// OnClose. After Close, Poll returns [ErrClosed].
	Poll(timeout time.Duration) error

	// Wake makes a Poll that is blocked, or else the next one, return without
	// waiting. Any goroutine may call it, at any time, also after Close. Wakes
	// that come before the loop has seen the first are one wake.
	Wake()

	// ConnectionCount is the number of connections that have had OnOpen and not
	// yet OnClose.
	ConnectionCount() int

	// Stats is a copy of the engine's counters, which start at zero in New.
	Stats() Stats

	// Shutdown ends the engine in good order: it stops listening, sends what is
	// queued on every connection and after it the end of data (FIN), discards what
	// still comes in (also from those that were paused for their queue), and closes
	// each connection when its peer has closed too. It
	// runs the loop itself until the last connection is gone or ctx is done; what
	// is left then is closed with [ErrShutdown], and Shutdown returns ctx's error.
	// The engine is closed afterwards in any case: a second Shutdown, like one after
	// Close, does nothing and returns [ErrClosed].
	Shutdown(ctx context.Context) error

	// Close closes the listener and all connections at once, which get OnClose
	// with [ErrClosed], and frees every descriptor and buffer. A second Close does
	// nothing and returns nil. Not to be called from a callback.
	Close() error
}

// Handler is a service. The engine calls it on the goroutine that runs the loop;
// while a callback runs, no other connection is served.
type Handler interface {
	// OnOpen is called when c is accepted, before any of its data.
	OnOpen(c Conn)

	// OnData is called with the next bytes of the stream, at least one. TCP has no
	// messages: the bytes of one send may come in two calls, those of two in one.
	// data belongs to the engine and is valid until OnData returns.
	OnData(c Conn, data []byte)

	// OnClose is called when c is gone. err is nil if the connection ended in
	// order (the peer's end of data, or the handler's own Close), else the cause:
	// the system call's error (such as ECONNRESET), or one of this package's.
	OnClose(c Conn, err error)
}

// Conn is one connection. It belongs to the loop; see the package comment.
type Conn interface {
	// ID identifies the connection among all that this engine has ever accepted.
	// It is not the descriptor: the kernel gives a descriptor out again as soon as
	// it is closed.
	ID() uint64

	// RemoteAddr is the peer's address.
	RemoteAddr() netip.AddrPort

	// Send sends p, which stays the caller's: what the kernel does not take now is
	// copied and sent later, in order. If the queue then holds more than
	// Config.HighWater bytes, the engine stops reading from this connection until
	// no more than Config.LowWater are left: the peer that does not read is not
	// read from.
	//
	// Send returns [ErrBackpressure] and keeps nothing of p if what is queued and p
	// are together longer than Config.HardLimit, however much the kernel would take
	// (so a p that is longer never goes), and [ErrClosed] after CloseWrite, after
	// Close, and in OnClose. After any other error the connection is lost and gets
	// its OnClose with the same error.
	Send(p []byte) error

	// Queued is the number of bytes that Send has taken and the kernel has not.
	Queued() int

	// CloseWrite ends the output: what is queued is sent, then the end of data
	// (FIN). Input goes on until the peer ends it too, and then the connection
	// closes. A second CloseWrite, or one after Close, does nothing and returns nil.
	CloseWrite() error

	// Close closes the connection; what is still queued is dropped. (To have it
	// sent first, call CloseWrite.) A second Close does nothing. Both return nil.
	Close() error

	// SetState and State keep one value for the handler.
	SetState(v any)
	State() any
}

// Config configures an engine. The zero value of each field works.
type Config struct {
	// Addr is the TCP address to listen on, "host:port" with a numeric host.
	// Default "127.0.0.1:0": loopback, a port of the kernel's choice.
	Addr string

	// Backlog is the length of the accept queue that is asked of the kernel, which
	// caps it (on Linux at net.core.somaxconn). Default 1024.
	Backlog int

	// MaxConnections is the number of connections served at once; those beyond it
	// are accepted, closed and counted in Stats.Refused. Default: no limit but the
	// mechanism's own and the process's descriptors.
	MaxConnections int

	// HighWater and LowWater are the marks, in bytes queued on one connection, at
	// which reading from it stops and goes on. Defaults 256 KiB and a quarter of
	// HighWater.
	HighWater int
	LowWater  int

	// HardLimit is the number of bytes that may be queued on one connection at
	// all. Default: 16 times HighWater.
	HardLimit int

	// ReadBudget is the number of bytes read from one connection in one turn of
	// the loop, so that a peer that floods does not starve the others. Default
	// 64 KiB.
	ReadBudget int

	// IdleTimeout closes a connection with [ErrIdleTimeout] when no byte has moved
	// on it in either direction for this long (up to a quarter longer: the engine
	// looks that often). Default: never. A completion engine sees bytes move when an
	// operation completes: give a slow peer time for what one send takes (256 KiB in
	// lesson 05).
	IdleTimeout time.Duration

	// TurnBudget is how long one turn may be busy, the wait not counted, before it
	// is counted in Stats.SlowTurns. Default 10 ms.
	TurnBudget time.Duration
}

// WithDefaults returns cfg with every zero field replaced by its default.
func (cfg Config) WithDefaults() Config {
	setDefault(&cfg.Addr, "127.0.0.1:0")
	setDefault(&cfg.Backlog, 1024)
	setDefault(&cfg.HighWater, 256<<10)
	setDefault(&cfg.LowWater, cfg.HighWater/4)
	setDefault(&cfg.HardLimit, 16*cfg.HighWater)
	setDefault(&cfg.ReadBudget, 64<<10)
	setDefault(&cfg.TurnBudget, 10*time.Millisecond)
	return cfg
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// ListenAddr is the address to listen on, parsed.
func (cfg Config) ListenAddr() (netip.AddrPort, error) {
	addr, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil {
		return addr, fmt.Errorf("listen on %q: want a numeric host and a port, such as 127.0.0.1:7000 or [::1]:0", cfg.Addr)
	}
	if zone := addr.Addr().Zone(); zone != "" {
		return addr, fmt.Errorf("listen on %q: the lab's engines know no zones (%%%s): listen on [::], which takes link-local clients too", cfg.Addr, zone)
	}
	return addr, nil
}

// Errors that an engine gives to its callers and to OnClose. They may come
// wrapped: compare with [errors.Is].
var (
	// ErrClosed: the engine or the connection is closed already.
	ErrClosed = errors.New("closed")
	// ErrBackpressure: the connection's queue is at its hard limit.
	ErrBackpressure = errors.New("send queue is full")
	// ErrIdleTimeout: nothing moved on the connection for Config.IdleTimeout.
	ErrIdleTimeout = errors.New("idle timeout")
	// ErrShutdown: the connection was not finished when Shutdown ran out of time.
	ErrShutdown = errors.New("server is shutting down")
)

// ErrNotImplemented is the error of a lesson's step that the reader has not yet
// written; the skeletons panic with it. The checker tells it ("not started") from
// a step that is written and wrong.
type ErrNotImplemented struct {
	Step string // lesson and step, such as "02.4"
	Task string // what is to be written, such as "Conn.Send"
}

func (e ErrNotImplemented) Error() string {
	return fmt.Sprintf("step %s is not written yet: %s", e.Step, e.Task)
}

// NotImplemented is what an unwritten step panics with.
func NotImplemented(step, task string) ErrNotImplemented {
	return ErrNotImplemented{Step: step, Task: task}
}
