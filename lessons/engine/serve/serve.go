// Package serve is the one main of every server in the lab: flags, log, signals,
// descriptor limit, a line of statistics each second, and shutdown in good order.
package serve

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"iolab/lessons/engine"
)

// Main runs an echo server on the engine that newEngine makes, as the command
// line says, until SIGINT or SIGTERM, and exits: 0 after a shutdown in good order,
// 1 after a failure, 2 if the command line is wrong, 3 if a step of the engine is
// not written yet. A second signal ends the process at once. Each of own may add
// flags of the server's own to the common ones; they are set before newEngine is
// called.
func Main[E engine.Engine](newEngine func(engine.Config, engine.Handler) (E, error), own ...func(*flag.FlagSet)) {
	os.Exit(run(os.Args[1:], os.Stderr, func(cfg engine.Config, h engine.Handler) (engine.Engine, error) {
		return newEngine(cfg, h)
	}, own...))
}

// options is the command line.
type options struct {
	cfg   engine.Config
	stats time.Duration // between two lines of statistics, 0 for none
	grace time.Duration // how long a shutdown may take
	json  bool          // all counters on standard output
}

func parse(args []string, out io.Writer, own []func(*flag.FlagSet)) (options, error) {
	o := options{cfg: engine.Config{Addr: "127.0.0.1:7000"}.WithDefaults()}
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.cfg.Addr, "addr", o.cfg.Addr, "listen on this `host:port`; port 0 lets the kernel choose")
	flags.IntVar(&o.cfg.Backlog, "backlog", o.cfg.Backlog, "length of the accept queue")
	flags.IntVar(&o.cfg.MaxConnections, "max-connections", 0, "serve at most this many at once; 0: as many as the mechanism and the descriptors allow")
	flags.IntVar(&o.cfg.HighWater, "high-water", o.cfg.HighWater, "stop reading from a connection with more than this many `bytes` queued")
	flags.IntVar(&o.cfg.LowWater, "low-water", o.cfg.LowWater, "go on reading at this many `bytes` queued")
	flags.IntVar(&o.cfg.HardLimit, "hard-limit", o.cfg.HardLimit, "queue at most this many `bytes` on one connection")
	flags.IntVar(&o.cfg.ReadBudget, "read-budget", o.cfg.ReadBudget, "read at most this many `bytes` from one connection in one turn")
	flags.DurationVar(&o.cfg.IdleTimeout, "idle-timeout", 0, "close connections on which nothing moves for this long; 0: never")
	flags.DurationVar(&o.cfg.TurnBudget, "turn-budget", o.cfg.TurnBudget, "count turns that take longer; for a minute after one, time the callbacks too and name the slow ones")
	flags.DurationVar(&o.stats, "stats", time.Second, "time between two lines of statistics; 0: none, and no word on slow turns")
	flags.DurationVar(&o.grace, "grace", 5*time.Second, "time that a shutdown may take")
	flags.BoolVar(&o.json, "stats-json", false, "print all counters, as they are when the shutdown begins, as JSON on standard output")
	for _, add := range own {
		add(flags)
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: everything is a flag, see -help", flags.Arg(0))
	case o.cfg.LowWater > o.cfg.HighWater:
		err = fmt.Errorf("-low-water %d is above -high-water %d", o.cfg.LowWater, o.cfg.HighWater)
	case min(o.cfg.Backlog, o.cfg.HighWater, o.cfg.LowWater, o.cfg.HardLimit, o.cfg.ReadBudget) <= 0:
		err = errors.New("sizes must be greater than zero")
	default:
		_, err = o.cfg.ListenAddr()
	}
	if err != nil {
		fmt.Fprintln(out, "server:", err)
	}
	return o, err
}

func run(args []string, out io.Writer, newEngine func(engine.Config, engine.Handler) (engine.Engine, error), own ...func(*flag.FlagSet)) (code int) {
	o, err := parse(args, out, own)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	defer func() {
		switch v := recover().(type) {
		case nil:
		case engine.ErrNotImplemented:
			log.Error(v.Error())
			code = 3
		default:
			panic(v)
		}
	}()
	limit, err := raiseFileLimit()
	if err != nil {
		log.Warn("descriptor limit stays as it is", "err", err)
	}

	service := &engine.Timed{Handler: engine.Echo{}, Budget: o.cfg.TurnBudget, Report: func(callback string, c engine.Conn, took time.Duration) {
		log.Warn("a callback held the loop up, or the machine was busy", "callback", callback, "conn", c.ID(), "peer", c.RemoteAddr(), "took", took)
	}}
	e, err := newEngine(o.cfg, service)
	if err != nil {
		log.Error("cannot start", "err", err, "hint", hint(err))
		return 1
	}
	log.Info("listening", "addr", e.Addr(), "os", runtime.GOOS, "pid", os.Getpid(), "max_fds", limit)
	if s, ok := e.(fmt.Stringer); ok { // an engine that has a choice says what it chose
		log.Info("built on", "features", s)
	}

	signals, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(signals, e.Wake)()
	if err := loop(signals, e, service, log, o, limit); err != nil {
		log.Error("the loop failed", "err", err)
		e.Close()
		return 1
	}
	stop() // from here on a signal kills

	if o.json {
		printStats(os.Stdout, e.Stats())
	}
	log.Info("shutting down", "connections", e.ConnectionCount(), "grace", o.grace)
	grace, cancel := context.WithTimeout(context.Background(), o.grace)
	defer cancel()
	if err := e.Shutdown(grace); err != nil {
		log.Warn("not all connections ended in order", "err", err)
	}
	s := e.Stats()
	log.Info("bye", "accepts", s.Accepts, "refused", s.Refused, "bytes_in", s.BytesIn, "bytes_out", s.BytesOut, "syscalls", s.Total())
	return 0
}

// printStats prints s as one line of JSON, the system calls by name.
func printStats(out io.Writer, s engine.Stats) {
	calls := map[string]uint64{}
	for call, n := range s.Calls {
		if n > 0 {
			calls[engine.Call(call).String()] = n
		}
	}
	json.NewEncoder(out).Encode(struct {
		engine.Stats
		Calls map[string]uint64 // in place of the one in Stats
	}{s, calls})
}

// loop runs e until ctx is done, with a line of statistics every interval in
// which something happened. When a turn was slow, service is timed for a while, so
// that a callback that is slow again is named.
func loop(ctx context.Context, e engine.Engine, service *engine.Timed, log *slog.Logger, o options, maxFDs uint64) error {
	interval := o.stats
	last, due := e.Stats(), time.Now().Add(interval)
	var timedUntil time.Time
	for ctx.Err() == nil {
		wait := time.Duration(-1)
		if interval > 0 {
			wait = max(time.Until(due), 0)
		}
		if err := e.Poll(wait); err != nil {
			return err
		}
		if interval <= 0 || time.Now().Before(due) {
			continue
		}
		s := e.Stats()
		if s.Accepts != last.Accepts || s.BytesIn != last.BytesIn || s.Connections != last.Connections {
			report(log, s, last)
		}
		if n := s.Refused - last.Refused; n > 0 {
			log.Warn("clients were refused", "refused", n, "why", whyRefused(s, o.cfg))
		}
		if s.Parked != last.Parked {
			log.Warn("no descriptors left: clients wait in the accept queue until a connection closes", "connections", s.Connections, "max_fds", maxFDs)
		}
		if s.SlowTurns != last.SlowTurns {
			log.Warn("the loop was held up, or the machine was busy", "slow_turns", s.SlowTurns-last.SlowTurns, "longest_turn_so_far", s.LongestTurn)
			timedUntil = time.Now().Add(time.Minute)
		}
		service.On.Store(time.Now().Before(timedUntil))
		last, due = s, time.Now().Add(interval)
	}
	return nil
}

// whyRefused is the limit that a server with the statistics s has met.
func whyRefused(s engine.Stats, cfg engine.Config) string {
	switch {
	case cfg.MaxConnections > 0 && s.Connections >= cfg.MaxConnections:
		return fmt.Sprintf("there are as many connections as -max-connections allows, %d", cfg.MaxConnections)
	case s.Calls[engine.CallSelect] > 0:
		return "select's sets end at FD_SETSIZE, 1024, whatever the descriptor limit is"
	}
	return "the mechanism has no room for more"
}

func report(log *slog.Logger, s, last engine.Stats) {
	log.Info("stats",
		"connections", s.Connections,
		"accepts", s.Accepts-last.Accepts,
		"refused", s.Refused-last.Refused,
		"bytes_in", s.BytesIn-last.BytesIn,
		"bytes_out", s.BytesOut-last.BytesOut,
		"wakeups", s.Wakeups-last.Wakeups,
		"syscalls", s.Total()-last.Total(),
		"eagains", s.EAGAINs-last.EAGAINs,
		"short_writes", s.ShortWrites-last.ShortWrites)
}
