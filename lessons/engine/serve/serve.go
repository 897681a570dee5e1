// Package serve is the one main of every server in the lab: flags, log, signals,
// descriptor limit, a line of statistics each second, and shutdown in good order.
package serve

import (
	"bufio"
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
	"strings"
	"syscall"
	"time"

	"iolab/lessons/engine"
)

// Main runs an echo server on the engine that newEngine makes, as the command
// line says, until SIGINT or SIGTERM, and exits: 0 after a shutdown (connections
// that did not end within -grace are a warning), 1 after a failure, 2 if the command
// line is wrong, 3 if a step of the engine is not written yet. A second signal, or one
// after the command to quit, ends the process at once. Each of own may add flags of the
// server's own to the common ones; they are set before newEngine is called.
func Main[E engine.Engine](newEngine func(engine.Config, engine.Handler) (E, error), own ...func(*flag.FlagSet)) {
	Run(Service{
		Flags: func(flags *flag.FlagSet) {
			for _, add := range own {
				add(flags)
			}
		},
		New: func(cfg engine.Config, timed func(engine.Handler) engine.Handler) (engine.Engine, error) {
			return newEngine(cfg, timed(engine.Echo{}))
		},
	})
}

// Service is a server that is more than an echo.
type Service struct {
	// Flags adds flags of the server's own to the common ones. May be nil.
	Flags func(*flag.FlagSet)

	// New makes the service and its engine, after the flags are set. What calls the
	// handler should call timed(handler), which is it, and times its callbacks when
	// turns are slow.
	New func(cfg engine.Config, timed func(engine.Handler) engine.Handler) (engine.Engine, error)

	// Report returns what a line of statistics says of the service, as keys and values
	// for slog, since the last call. May be nil.
	Report func() []any

	// JSON returns what -json-stats writes, now. Default: the engine's Stats, the system
	// calls by name.
	JSON func() any
}

// Run is [Main] for any service.
func Run(s Service) { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, s)) }

// options is the command line.
type options struct {
	cfg   engine.Config
	stats time.Duration // between two lines of statistics, 0 for none
	grace time.Duration // how long a shutdown may take
	json  time.Duration // between two of JSON on the standard output, 0 for none

	control bool // commands from the standard input
}

func parse(args []string, out io.Writer, own func(*flag.FlagSet)) (options, error) {
	o := options{cfg: engine.Config{Addr: "127.0.0.1:7000"}.WithDefaults()}
	o.cfg.LowWater, o.cfg.HardLimit = 0, 0 // they follow -high-water
	flags := flag.NewFlagSet("server", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.cfg.Addr, "addr", o.cfg.Addr, "listen on this `host:port`; port 0 lets the kernel choose")
	flags.IntVar(&o.cfg.Backlog, "backlog", o.cfg.Backlog, "length of the accept queue")
	flags.IntVar(&o.cfg.MaxConnections, "max-connections", 0, "serve at most this many at once; 0: as many as the mechanism and the descriptors allow")
	flags.IntVar(&o.cfg.HighWater, "high-water", o.cfg.HighWater, "stop reading from a connection with more than this many `bytes` queued")
	flags.IntVar(&o.cfg.LowWater, "low-water", 0, "go on reading at this many `bytes` queued; 0: a quarter of -high-water")
	flags.IntVar(&o.cfg.HardLimit, "hard-limit", 0, "queue at most this many `bytes` on one connection; 0: 16 times -high-water")
	flags.IntVar(&o.cfg.ReadBudget, "read-budget", o.cfg.ReadBudget, "read at most this many `bytes` from one connection in one turn")
	flags.DurationVar(&o.cfg.IdleTimeout, "idle-timeout", 0, "close connections on which nothing moves for this long; 0: never")
	flags.DurationVar(&o.cfg.TurnBudget, "turn-budget", o.cfg.TurnBudget, "count turns that take longer; for a minute after one, time the callbacks too and name the slow ones")
	flags.DurationVar(&o.stats, "stats", time.Second, "time between two lines of statistics; 0: none, and no word on slow turns")
	flags.DurationVar(&o.grace, "grace", 5*time.Second, "time that a shutdown may take")
	flags.DurationVar(&o.json, "json-stats", 0, "time between two lines of all counters as JSON on the standard output, and another when the shutdown begins; 0: none")
	flags.BoolVar(&o.control, "control", false, "take commands from the standard input, one a line: \"counters\" writes a line of all counters as JSON on the standard output, \"stall 500ms\" holds the loop up, \"quit\" and the end of input shut down")
	if own != nil {
		own(flags)
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err error
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q: everything is a flag, see -help", flags.Arg(0))
	case min(o.cfg.Backlog, o.cfg.HighWater, o.cfg.ReadBudget) <= 0, min(o.cfg.LowWater, o.cfg.HardLimit) < 0:
		err = errors.New("sizes must be greater than zero")
	case o.cfg.LowWater > o.cfg.HighWater:
		err = fmt.Errorf("-low-water %d is above -high-water %d", o.cfg.LowWater, o.cfg.HighWater)
	case o.cfg.HardLimit > 0 && o.cfg.HardLimit < o.cfg.HighWater:
		err = fmt.Errorf("-hard-limit %d is below -high-water %d: answers would be refused before reading stops", o.cfg.HardLimit, o.cfg.HighWater)
	default:
		_, err = o.cfg.ListenAddr()
	}
	if err != nil {
		fmt.Fprintln(out, "server:", err)
	}
	o.cfg = o.cfg.WithDefaults()
	return o, err
}

func run(args []string, in io.Reader, out, logTo io.Writer, service Service) (code int) {
	o, err := parse(args, logTo, service.Flags)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	log := slog.New(slog.NewTextHandler(logTo, nil))
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

	timed := &engine.Timed{Budget: o.cfg.TurnBudget, Report: func(callback string, c engine.Conn, took time.Duration) {
		log.Warn("a callback held the loop up, or the machine was busy", "callback", callback, "conn", c.ID(), "peer", c.RemoteAddr(), "took", took)
	}}
	e, err := service.New(o.cfg, func(h engine.Handler) engine.Handler {
		timed.Handler = h
		return timed
	})
	if err != nil {
		log.Error("cannot start", "err", err, "hint", hint(err))
		return 1
	}
	signals, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // before anybody is told that it runs
	defer stop()
	defer context.AfterFunc(signals, func() {
		stop() // the next one kills, should the loop not come back
		wake(e, log)
	})()
	log.Info("listening", "addr", e.Addr(), "os", runtime.GOOS, "pid", os.Getpid(), "max_fds", limit)
	if s, ok := e.(fmt.Stringer); ok { // an engine that has a choice says what it chose
		log.Info("built on", "features", s)
	}

	l := loop{Engine: e, service: service, timed: timed, log: log, options: o, maxFDs: limit, json: json.NewEncoder(out)}
	if o.control {
		l.commands = make(chan string, 16)
		go readCommands(in, l.commands, func() { wake(e, log) })
	}
	if err := l.run(signals); err != nil {
		log.Error("the loop failed", "err", err)
		e.Close()
		return 1
	}
	stop() // also after the command to quit a signal kills

	if o.json > 0 {
		if err := l.writeJSON(); err != nil {
			log.Warn("-json-stats", "err", err)
		}
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

// named is s with the system calls by name, for JSON.
func named(s engine.Stats) any {
	calls := map[string]uint64{}
	for call, n := range s.Calls {
		if n > 0 {
			calls[engine.Call(call).String()] = n
		}
	}
	return struct {
		engine.Stats
		Calls map[string]uint64 // in place of the one in Stats
	}{s, calls}
}

// loop runs an engine.
type loop struct {
	engine.Engine
	service  Service
	timed    *engine.Timed
	log      *slog.Logger
	options  options
	maxFDs   uint64
	json     *json.Encoder
	commands chan string // nil: none

	last       engine.Stats // at the last line of statistics
	timedUntil time.Time
}

// run runs the engine until ctx is done or a command ends it, with a line of
// statistics every interval in which something happened.
func (l *loop) run(ctx context.Context) error {
	now := time.Now()
	l.last = l.Stats()
	statsDue, jsonDue := now.Add(l.options.stats), now.Add(l.options.json)
	for ctx.Err() == nil {
		wait := time.Duration(-1)
		if l.options.stats > 0 {
			wait = max(time.Until(statsDue), 0)
		}
		if l.options.json > 0 {
			if d := max(time.Until(jsonDue), 0); wait < 0 || d < wait {
				wait = d
			}
		}
		if err := l.Poll(wait); err != nil {
			return err
		}
		if now = time.Now(); l.options.json > 0 && !now.Before(jsonDue) {
			jsonDue = now.Add(l.options.json)
			if err := l.writeJSON(); err != nil {
				return fmt.Errorf("-json-stats: %w", err)
			}
		}
		if l.options.stats > 0 && !now.Before(statsDue) {
			statsDue = now.Add(l.options.stats)
			l.tell()
		}
		for len(l.commands) > 0 {
			if l.obey(<-l.commands) {
				return nil
			}
		}
	}
	return nil
}

// tell logs what happened since the last time. When a turn was slow, the callbacks are
// timed for a while, so that one that is slow again is named.
func (l *loop) tell() {
	s, last := l.Stats(), l.last
	if s.Accepts != last.Accepts || s.BytesIn != last.BytesIn || s.BytesOut != last.BytesOut || s.Connections != last.Connections {
		var more []any
		if l.service.Report != nil {
			more = l.service.Report()
		}
		report(l.log, s, last, more)
	}
	if n := s.Refused - last.Refused; n > 0 {
		l.log.Warn("clients were refused", "refused", n, "why", whyRefused(s, l.options.cfg))
	}
	if s.Parked != last.Parked {
		l.log.Warn("accept fails, most likely for want of descriptors: clients wait in the accept queue until a connection closes", "connections", s.Connections, "max_fds", l.maxFDs)
	}
	now := time.Now()
	if s.SlowTurns != last.SlowTurns {
		l.log.Warn("the loop was held up, or the machine was busy", "slow_turns", s.SlowTurns-last.SlowTurns, "longest_turn_so_far", s.LongestTurn)
		l.timedUntil = now.Add(time.Minute)
	}
	l.timed.On.Store(now.Before(l.timedUntil))
	l.last = s
}

// writeJSON writes a line of all counters, for -json-stats or as commanded.
func (l *loop) writeJSON() error {
	if l.service.JSON != nil {
		return l.json.Encode(l.service.JSON())
	}
	return l.json.Encode(named(l.Stats()))
}

// obey does what a line of the standard input asks for, and says whether it is the end.
func (l *loop) obey(command string) (quit bool) {
	verb, arg, _ := strings.Cut(strings.TrimSpace(command), " ")
	switch verb {
	case "":
	case "quit":
		return true
	case "counters":
		if err := l.writeJSON(); err != nil {
			l.log.Warn("the counters cannot be written", "err", err)
		}
	case "stall":
		d, err := time.ParseDuration(strings.TrimSpace(arg))
		if err != nil || d < 0 || d > time.Minute {
			l.log.Warn("stall wants a time of at most a minute", "example", "stall 500ms", "got", command)
			return false
		}
		l.log.Info("the loop is held up, as commanded", "for", d)
		time.Sleep(d)
	default:
		l.log.Warn("no such command", "got", command, "commands", "counters, stall 500ms, quit")
	}
	return false
}

// wake has e's Poll return. While Wake is not written yet, that is when Poll returns by
// itself.
func wake(e engine.Engine, log *slog.Logger) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case engine.ErrNotImplemented:
			log.Warn(v.Error())
		default:
			panic(v)
		}
	}()
	e.Wake()
}

// readCommands passes the lines of in on, and "quit" at their end.
func readCommands(in io.Reader, commands chan<- string, wake func()) {
	lines := bufio.NewScanner(in)
	for more := true; more; {
		command := "quit"
		if more = lines.Scan(); more {
			command = lines.Text()
		}
		commands <- command
		wake()
	}
}

// whyRefused is the limit that a server with the statistics s has met.
func whyRefused(s engine.Stats, cfg engine.Config) string {
	switch {
	case cfg.MaxConnections > 0 && s.Connections >= cfg.MaxConnections:
		return fmt.Sprintf("there are as many connections as -max-connections allows, %d", cfg.MaxConnections)
	case cfg.MaxConnections == 0 && s.Calls[engine.CallIOUringEnter] > 0:
		return "the ring's table of connections without a descriptor (-direct) is full: it has as many places as the process may have descriptors, ulimit -n; each of several rings (-loops) has its own"
	case s.Calls[engine.CallSelect] > 0:
		return "select's sets end at FD_SETSIZE (1024, on NetBSD 256), whatever the descriptor limit is"
	}
	return "the mechanism has no room for more"
}

func report(log *slog.Logger, s, last engine.Stats, more []any) {
	log.Info("stats", append([]any{
		"connections", s.Connections,
		"accepts", s.Accepts - last.Accepts,
		"refused", s.Refused - last.Refused,
		"bytes_in", s.BytesIn - last.BytesIn,
		"bytes_out", s.BytesOut - last.BytesOut,
		"wakeups", s.Wakeups - last.Wakeups,
		"syscalls", s.Total() - last.Total(),
		"eagains", s.EAGAINs - last.EAGAINs,
		"short_writes", s.ShortWrites - last.ShortWrites}, more...)...)
}
