package gameloop

import (
	"cmp"
	"context"
	"math/bits"
	"time"

	"iolab/lessons/engine"
)

// Simulation is what a [Loop] keeps in time.
type Simulation interface {
	Step()      // one tick
	Broadcast() // send what has become of it
	Shutdown()  // tell the clients that the server ends
}

// LoopConfig configures a loop. The zero value of each field works.
type LoopConfig struct {
	Rate int // ticks a second. Default 60

	// MaxCatchUp is the number of ticks made in one turn to catch up after a stall; what
	// is due beyond it is dropped. Default 5.
	MaxCatchUp int

	// Spin is how long before a tick Poll no longer waits but only looks. It costs
	// processor time and buys what the engine's timer lacks in precision. Default 0.
	Spin time.Duration

	// Now is the clock. Default time.Now; tests give their own.
	Now func() time.Time
}

// Loop is an engine whose Poll also keeps a simulation in time. Everything else is the
// engine's that it is built on.
type Loop struct {
	engine.Engine
	simulation Simulation
	cfg        LoopConfig
	start      time.Time
	next       int64 // the number of the next tick; dropped ones count
	stats      LoopStats
}

// LoopStats say how well the time was kept.
type LoopStats struct {
	Ticks    uint64    // made
	Dropped  uint64    // never made: the clamp
	Overruns uint64    // turns whose ticks and broadcast took longer than a tick has
	Late     Histogram // how long after the first tick that was due, dropped or not, a turn's ticks began
	Busy     Histogram // how long a turn's ticks and broadcast took
}

// Since is what was counted since s was earlier.
func (s LoopStats) Since(earlier LoopStats) LoopStats {
	return LoopStats{
		Ticks:    s.Ticks - earlier.Ticks,
		Dropped:  s.Dropped - earlier.Dropped,
		Overruns: s.Overruns - earlier.Overruns,
		Late:     s.Late.Since(earlier.Late),
		Busy:     s.Busy.Since(earlier.Busy),
	}
}

// NewLoop returns a loop that makes its first tick one tick from now.
func NewLoop(e engine.Engine, s Simulation, cfg LoopConfig) *Loop {
	cfg.Rate = cmp.Or(cfg.Rate, 60)
	cfg.MaxCatchUp = cmp.Or(cfg.MaxCatchUp, 5)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Loop{Engine: e, simulation: s, cfg: cfg, start: cfg.Now(), next: 1}
}

// LoopStats is a copy of the loop's counters.
func (l *Loop) LoopStats() LoopStats { return l.stats }

// Poll makes one turn: the engine's, which waits at most until the next tick is due (or
// for timeout, if that is shorter; not at all if it is 0; negative: no limit of its own),
// and then the ticks that are due.
func (l *Loop) Poll(timeout time.Duration) error {
	wait := max(l.deadline(l.next).Sub(l.cfg.Now())-l.cfg.Spin, 0)
	if timeout >= 0 {
		wait = min(wait, timeout)
	}
	if err := l.Engine.Poll(wait); err != nil {
		return err
	}
	l.run()
	return nil
}

// deadline is the time of tick n: counted from the start, not from the tick before, so
// that nothing adds up. A sixtieth of a second is no whole number of nanoseconds, and
// of milliseconds even less. Whole seconds are taken out first: the product of ticks and
// nanoseconds overflows in the 107th day at 1,000 Hz.
func (l *Loop) deadline(n int64) time.Time {
	rate := int64(l.cfg.Rate)
	seconds, ticks := n/rate, n%rate
	return l.start.Add(time.Duration(seconds*int64(time.Second) + ticks*int64(time.Second)/rate))
}

// run makes the ticks that are due, and sends once after the last of them.
func (l *Loop) run() {
	began := l.cfg.Now()
	due := l.due(began)
	if due == 0 {
		return
	}
	l.stats.Late.Add(began.Sub(l.deadline(l.next)))
	if extra := due - l.cfg.MaxCatchUp; extra > 0 {
		// To make up for everything would take longer than it took to fall behind, and
		// so on: the spiral. What is dropped is gone; the grid of deadlines stays.
		l.stats.Dropped += uint64(extra)
		l.next += int64(extra)
		due = l.cfg.MaxCatchUp
	}
	for range due {
		l.simulation.Step()
	}
	l.simulation.Broadcast()
	l.next += int64(due)
	l.stats.Ticks += uint64(due)
	busy := l.cfg.Now().Sub(began)
	l.stats.Busy.Add(busy)
	if busy > time.Second/time.Duration(l.cfg.Rate) {
		l.stats.Overruns++
	}
}

// due is the number of ticks whose time has come at now: those up to the last n for
// which deadline(n), which is rounded down to a nanosecond, is not after now.
func (l *Loop) due(now time.Time) int {
	elapsed, rate := now.Sub(l.start), int64(l.cfg.Rate)
	seconds, rest := int64(elapsed/time.Second), int64(elapsed%time.Second)
	last := seconds*rate + ((rest+1)*rate-1)/int64(time.Second)
	return int(max(last-l.next+1, 0))
}

// Shutdown tells the clients, and shuts the engine down.
func (l *Loop) Shutdown(ctx context.Context) error {
	l.simulation.Shutdown()
	return l.Engine.Shutdown(ctx)
}

// Histogram counts durations in buckets, each an eighth of a power of two wide, so that
// a percentile is at most an eighth too high. The zero value is empty.
type Histogram struct {
	Count   uint64
	Max     time.Duration
	Buckets [40 * 8]uint64
}

// Add counts d; below 0 is 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.Count++
	h.Max = max(h.Max, d)
	h.Buckets[bucket(d)]++
}

// bucket is the bucket of d: the place of its highest bit, and the three below it.
func bucket(d time.Duration) int {
	if d < 8 {
		return int(d)
	}
	shift := bits.Len64(uint64(d)) - 4
	return min((shift+1)*8+int(d>>shift)-8, 40*8-1)
}

// Percentile is the duration that p of 100 are not above, 0 if there are none.
func (h *Histogram) Percentile(p float64) time.Duration {
	rank := uint64(p / 100 * float64(h.Count))
	for i, n := range h.Buckets {
		if n > rank {
			return min(upper(i), h.Max)
		}
		rank -= n
	}
	return h.Max
}

// Above is the number of durations in the buckets above that of d.
func (h *Histogram) Above(d time.Duration) (n uint64) {
	for i := bucket(d) + 1; i < len(h.Buckets); i++ {
		n += h.Buckets[i]
	}
	return n
}

// upper is the longest duration of bucket i.
func upper(i int) time.Duration {
	if i < 8 {
		return time.Duration(i)
	}
	shift := i/8 - 1
	return time.Duration(i%8+9)<<shift - 1
}

// Since is what was counted since h was earlier. Its Max is that of the buckets.
func (h Histogram) Since(earlier Histogram) Histogram {
	h.Count -= earlier.Count
	longest := time.Duration(0)
	for i := range h.Buckets {
		if h.Buckets[i] -= earlier.Buckets[i]; h.Buckets[i] > 0 {
			longest = upper(i)
		}
	}
	h.Max = min(h.Max, longest)
	return h
}
