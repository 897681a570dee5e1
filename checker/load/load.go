// Package load makes clients for an echo server and measures what comes back: how many
// messages, how late, and what it cost the server and the clients in processor time.
//
// The clients live in a process of their own (see [Start] and [Main]), so that their
// processor time, descriptors and pauses are not the server's. On Linux that process is
// one thread with an epoll loop on raw system calls; elsewhere, and with Spec.Portable, it
// is package net with two goroutines for each connection.
//
// Two kinds of load:
//
//   - Closed loop: each connection has Spec.Depth messages under way, and sends the next
//     when one comes back. A slow server is asked less. Latency counts from the send.
//   - Open loop: messages are due at a fixed rate, whatever the server does, dealt out to
//     the connections in turn. Latency counts from the moment at which a message was due,
//     not from when it could be sent: a server that stands still for a tenth of a second
//     makes every message late that was due in it, and all of them are counted. (To leave
//     them out is known as coordinated omission.)
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"iolab/checker/probe"
)

// Spec says what load to make. The zero value of each field but Addr and Connections
// works.
type Spec struct {
	Addr        netip.AddrPort // of the echo server
	Connections int            // that send and read back
	Idle        int            // connections that do nothing after their first echo
	Slow        int            // connections that send all the time and read 4 KiB each tenth of a second

	Size  int     // bytes of a message; default 64
	Depth int     // closed loop: messages under way on each connection; default 1
	Rate  float64 // open loop: messages a second, over all connections; 0: closed loop
	Churn int     // closed loop: a connection ends after its first and so many more messages, and another is opened; 0: never

	WarmUp time.Duration // before the measurement
	Window time.Duration // the measurement; 0: connect, echo once on each connection, and hold
	Server int           // process id of the server, whose processor time is measured; 0: not

	Source   int           // number of the first source address, 127.0.0.1 + Source
	Patience time.Duration // how long a connection, or a message, may take; default 15 s
	Portable bool          // package net also on Linux
}

// Limits of a Spec.
const (
	MaxSize  = 1 << 20
	MaxDepth = 1024
)

// PerSource is how many connections come from one source address: the default range of
// ephemeral ports is 32768 to 60999, and some are in use already.
const PerSource = 28_000

// withDefaults returns s with its zero fields replaced.
func (s Spec) withDefaults() Spec {
	if s.Size == 0 {
		s.Size = 64
	}
	if s.Depth == 0 {
		s.Depth = 1
	}
	if s.Patience == 0 {
		s.Patience = 15 * time.Second
	}
	return s
}

// Check says what is wrong with s.
func (s Spec) Check() error {
	s = s.withDefaults()
	switch {
	case !s.Addr.IsValid() || s.Addr.Port() == 0:
		return errors.New("the load needs the address of a server")
	case s.Connections < 0 || s.Idle < 0 || s.Slow < 0 || s.Connections+s.Idle+s.Slow == 0:
		return errors.New("the load needs at least one connection")
	case s.Window > 0 && s.Connections == 0:
		return errors.New("the load needs at least one connection that sends")
	case s.Size < 1 || s.Size > MaxSize:
		return fmt.Errorf("a message has 1 to %d bytes, not %d", MaxSize, s.Size)
	case s.Depth < 1 || s.Depth > MaxDepth:
		return fmt.Errorf("1 to %d messages can be under way on a connection, not %d", MaxDepth, s.Depth)
	case s.Rate < 0:
		return fmt.Errorf("a rate of %v messages a second makes no sense", s.Rate)
	case s.Churn < 0:
		return fmt.Errorf("a connection cannot end after %d messages", s.Churn)
	case s.Rate > 0 && (s.Churn > 0 || s.Depth > 1):
		return errors.New("an open loop has a rate; depth and churn are a closed loop's")
	}
	return nil
}

// total is the number of connections of all kinds.
func (s Spec) total() int { return s.Connections + s.Idle + s.Slow }

// Result is what was measured in the window.
type Result struct {
	Seconds  float64 // how long the window was
	Messages int64   // that came back in it, whenever they were due or sent
	All      int64   // that came back at all, before and after it included
	Connects int64   // churn: connections opened in the window

	// Open loop, of the messages that were due in the window:
	Due      int64 // how many there were
	Sent     int64 // that were sent in it: fewer if the clients are too slow
	Answered int64 // that came back in it: fewer if the server is
	Lost     int64 // that were not back five seconds after; their latency is taken to be the wait

	// Latency, in nanoseconds, is that of each message that was under way in the window, and
	// in an open loop of each that was due in it: also if it came back later.
	Latency *Histogram
	Late    *Histogram // open loop: how much later than due the message was sent
	Connect *Histogram // churn: from connect to the first message back

	Server *probe.Usage // processor time of the server in the window, nil if unknown
	Load   probe.Usage  // and of this process
}

// LoadShare is the part of a processor that the clients needed.
func (r Result) LoadShare() float64 { return r.Load.Total().Seconds() / r.Seconds }

// LoadCost is the clients' processor time for a message.
func (r Result) LoadCost() time.Duration {
	if r.Messages == 0 {
		return 0
	}
	return r.Load.Total() / time.Duration(r.Messages)
}

// Ceiling is the number of messages a second that the clients could make at this cost, if
// the server had no cost at all.
func (r Result) Ceiling() float64 {
	if c := r.LoadCost(); c > 0 {
		return 1 / c.Seconds()
	}
	return 0
}

// Histogram is an HDR histogram of durations up to a minute, exact to three digits, that
// travels in JSON.
type Histogram struct{ *hdrhistogram.Histogram }

// longest is the longest duration told apart; what is longer counts as that.
const longest = time.Minute

// NewHistogram returns an empty histogram.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, int64(longest), 3)}
}

// Add counts d.
func (h *Histogram) Add(d time.Duration) {
	h.RecordValue(min(max(int64(d), 0), int64(longest)))
}

// Merge adds all of from, which may be nil.
func (h *Histogram) Merge(from *Histogram) {
	if from != nil {
		h.Histogram.Merge(from.Histogram)
	}
}

// Quantile is the duration that the part q of all is not above.
func (h *Histogram) Quantile(q float64) time.Duration {
	return time.Duration(h.ValueAtQuantile(q * 100))
}

// MarshalText implements [encoding.TextMarshaler] with HDR's own compressed format.
func (h *Histogram) MarshalText() ([]byte, error) {
	return h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Histogram) UnmarshalText(text []byte) (err error) {
	h.Histogram, err = hdrhistogram.Decode(text)
	return err
}
