package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"iolab/checker/probe"
)

// generator makes the load that a Spec asks for.
type generator interface {
	// connect opens all connections, and has each send a message and read it back. It
	// returns how many got that far, also with an error.
	connect() (int, error)
	// run makes the load and measures. It calls mark, which must not wait, with true where the
	// window begins, and with false where it ends.
	run(mark func(begins bool)) (Result, error)
	// echo has every connection that connect has opened send a message once more, and read
	// it back.
	echo() error
	close()
}

// grace is how long an open loop waits for what was due in its window, and a closed loop
// while nothing comes back.
const grace = 5 * time.Second

// drip is how many times a message's patience a closed loop waits in all for what is under
// way, though something comes back now and then.
const drip = 4

// errEnded is said of a server that closes a connection.
var errEnded = errors.New("the server ended the connection")

// errGarbled is said of an echo that is none.
var errGarbled = errors.New("what came back is not what was sent")

// failure is an error of one connection.
func failure(conn int, err error) error { return fmt.Errorf("connection %d: %w", conn+1, err) }

// notWithin is the error of something that did not come in time. doing says what the server
// did, or nothing.
func notWithin(what string, patience time.Duration, doing string) error {
	return fmt.Errorf("%s within %v%s", what, patience, doing)
}

// pattern is a message of size bytes again and again, at least size + extra bytes.
func pattern(size, extra int) []byte {
	p := make([]byte, size+extra)
	for i := range p {
		p[i] = 'a' + byte(i%size*7%23)
	}
	return p
}

// source is the address from which connection n comes.
func source(first, n int) netip.Addr {
	i := first + n/PerSource + 1
	return netip.AddrFrom4([4]byte{127, 0, byte(i >> 8), byte(i)})
}

// meter is the processor time before a window.
type meter struct {
	start        time.Time
	server, load probe.Usage
	known        bool
}

func startMeter(server int) meter {
	m := meter{}
	if server != 0 {
		var err error
		m.server, err = probe.ProcessUsage(server)
		m.known = err == nil
	}
	m.load, _ = probe.OwnUsage()
	m.start = time.Now()
	return m
}

// stop fills in what was used since the meter was started.
func (m meter) stop(server int, r *Result) {
	r.Seconds = time.Since(m.start).Seconds()
	load, _ := probe.OwnUsage()
	r.Load = load.Minus(m.load)
	if m.known {
		if now, err := probe.ProcessUsage(server); err == nil {
			used := now.Minus(m.server)
			r.Server = &used
		}
	}
}
