// Command server is the game server on the engine of your choice.
package main

import (
	"flag"
	"fmt"
	"time"

	"iolab/lessons/engine"
	"iolab/lessons/engine/engines"
	"iolab/lessons/engine/serve"
	gameloop "iolab/solutions/07-game-loop"
)

// which engines -engine means by names that have no folder before them.
const which = engines.Solutions

func main() {
	var s server
	serve.Run(serve.Service{Flags: s.flags, New: s.new, Report: s.report, JSON: s.json})
}

type server struct {
	name   string
	cfg    gameloop.Config
	timing gameloop.LoopConfig

	engine  engines.Engine
	game    *gameloop.Game
	loop    *gameloop.Loop
	started time.Time
	told    gameloop.LoopStats            // at the last line of the log
	lines   [linesBack]gameloop.LoopStats // at the last lines of JSON, the oldest first
}

// linesBack is how many lines of JSON late and busy are of.
const linesBack = 10

func (s *server) flags(flags *flag.FlagSet) {
	flags.StringVar(&s.name, "engine", engines.Default, "serve on this `engine`: "+engines.Names(which))
	flags.IntVar(&s.cfg.Rate, "rate", 60, "`ticks` a second")
	flags.IntVar(&s.cfg.Width, "width", 128, "of the world, in `tiles`")
	flags.IntVar(&s.cfg.Height, "height", 128, "of the world, in `tiles`")
	flags.Uint64Var(&s.cfg.Seed, "seed", 1, "of the walls and the places where players begin")
	flags.IntVar(&s.cfg.MaxPlayers, "players", 1000, "room for this many players")
	flags.BoolVar(&s.cfg.Interest, "interest", false, "send each player only what is near")
	flags.BoolVar(&s.cfg.FullOnly, "full", false, "send every snapshot in full, never a delta")
	flags.IntVar(&s.timing.MaxCatchUp, "catch-up", 5, "make at most this many `ticks` at once after a stall; what is due beyond them is dropped")
	flags.DurationVar(&s.timing.Spin, "spin", 0, "in this last moment before a tick do not sleep but look again and again")
}

func (s *server) new(cfg engine.Config, timed func(engine.Handler) engine.Handler) (engine.Engine, error) {
	if err := s.cfg.Check(); err != nil {
		return nil, err
	}
	if s.timing.MaxCatchUp < 0 || s.timing.Spin < 0 {
		return nil, fmt.Errorf("-catch-up %d, -spin %v: want 0 or more", s.timing.MaxCatchUp, s.timing.Spin)
	}
	var err error
	if s.engine, err = engines.Find(s.name, which); err != nil {
		return nil, err
	}
	s.game = gameloop.New(s.cfg)
	e, err := s.engine.New(cfg, timed(s.game))
	if err != nil {
		return nil, err
	}
	s.timing.Rate = s.cfg.Rate
	s.loop = gameloop.NewLoop(e, s.game, s.timing)
	s.started = time.Now()
	return s.loop, nil
}

// report is the game's part of a line of statistics.
func (s *server) report() []any {
	now, g := s.loop.LoopStats(), s.game.Stats()
	d := now.Since(s.told)
	s.told = now
	return []any{
		"engine", s.engine.Name, "players", g.Players,
		"ticks", d.Ticks, "dropped", d.Dropped, "overruns", d.Overruns,
		"late_p50", d.Late.Percentile(50), "late_p99", d.Late.Percentile(99), "late_max", d.Late.Max,
		"busy_p50", d.Busy.Percentile(50), "busy_p99", d.Busy.Percentile(99),
		"inputs_queued", g.InputsQueued, "longest_queue", g.LongestQueue, "replaced", g.Replaced,
	}
}

// line is what -json-stats writes. Counters count from the start; late and busy are of
// the last ten lines: of the last second, at -json-stats 100ms.
type line struct {
	Engine   string         `json:"engine"`  // as -engine names it, with its folder
	How      string         `json:"how"`     // "native" or "emulated"
	Timer    string         `json:"timer"`   // what a wait is rounded up to
	Seconds  float64        `json:"seconds"` // since the start
	Rate     int            `json:"rate"`
	Ticks    uint64         `json:"ticks"`
	Dropped  uint64         `json:"dropped"`
	Overruns uint64         `json:"overruns"`
	Late     quantiles      `json:"late_us"`
	Busy     quantiles      `json:"busy_us"`
	Game     gameloop.Stats `json:"game"`
	Server   engine.Stats   `json:"server"`
	SysCalls uint64         `json:"syscalls"`
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantilesOf(h gameloop.Histogram) quantiles {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return quantiles{us(h.Percentile(50)), us(h.Percentile(99)), us(h.Max)}
}

func (s *server) json() any {
	now, stats := s.loop.LoopStats(), s.loop.Stats()
	last := now.Since(s.lines[0])
	copy(s.lines[:], s.lines[1:])
	s.lines[linesBack-1] = now
	return line{
		Engine: s.engine.Name, How: s.engine.How, Timer: s.engine.Timer,
		Seconds: time.Since(s.started).Seconds(), Rate: s.cfg.Rate,
		Ticks: now.Ticks, Dropped: now.Dropped, Overruns: now.Overruns,
		Late: quantilesOf(last.Late), Busy: quantilesOf(last.Busy),
		Game: s.game.Stats(), Server: stats, SysCalls: stats.Total(),
	}
}
