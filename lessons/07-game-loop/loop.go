package gameloop

import (
	"cmp"
	"context"
	"math/bits"
	"time"

	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

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
//
// TODO step 2: ask the engine to wait for the time that is left to the next tick (less Spin), never for
// less than 0 and never for longer than timeout; then make the ticks that are due.
func (l *Loop) Poll(timeout time.Duration) error {
	panic(engine.NotImplemented("07.2", "Loop.Poll"))
}

// deadline is the time of tick n: counted from the start, not from the tick before, so
// that nothing adds up. A sixtieth of a second is no whole number of nanoseconds, and
// of milliseconds even less.
//
// TODO step 2: the start plus n ticks. Multiply before you divide.
func (l *Loop) deadline(n int64) time.Time {
	panic(engine.NotImplemented("07.2", "Loop.deadline"))
}

// run makes the ticks that are due, and sends once after the last of them.
//
// TODO step 2: nothing is due: return. Else drop what is beyond MaxCatchUp, make the steps, broadcast
// once, and keep the stats: how late the first that was due is, how long all took.
func (l *Loop) run() {
	panic(engine.NotImplemented("07.2", "Loop.run"))
}

// due is the number of ticks whose time has come at now: those up to the last n for
// which deadline(n), which is rounded down to a nanosecond, is not after now.
//
// TODO step 2: how many ticks from l.next on have their deadline at now or before. It may be a million.
func (l *Loop) due(now time.Time) int {
	panic(engine.NotImplemented("07.2", "Loop.due"))
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
