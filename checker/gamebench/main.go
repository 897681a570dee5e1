// Command gamebench measures the game server of solutions/07-game-loop under load: a
// crowd of players, in a process of their own, on one engine after the other.
//
//	go run ./checker/gamebench -engines all -players 1000 -seconds 10
//
// For each engine it prints how late ticks began, how many took too long or were never
// made, the time from the beginning of a tick to the moment when the last player has its
// snapshot, what a snapshot weighs, and the processor time of the server.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"iolab/checker/probe"
	"iolab/lessons/engine"
	"iolab/lessons/engine/engines"
	gameloop "iolab/solutions/07-game-loop"
)

type options struct {
	engines  string
	players  int
	seconds  int
	rate     int
	size     int
	answer   int
	full     bool
	interest bool
	spin     time.Duration
	json     bool
	crowd    string // this process is the players'; the server's address
}

func main() {
	var o options
	flag.StringVar(&o.engines, "engines", "all", "`names` with commas between them, or all: those of the solutions; lessons/NAME is the reader's own")
	flag.IntVar(&o.players, "players", 1000, "players")
	flag.IntVar(&o.seconds, "seconds", 10, "`seconds` that each engine is measured")
	flag.IntVar(&o.rate, "rate", 60, "ticks a second")
	flag.IntVar(&o.size, "size", 0, "side of the world in `tiles`; 0: so that a player sees about six players, which is 100 bytes")
	flag.IntVar(&o.answer, "answer", 3, "each player sends an input and an acknowledgement for one snapshot in so many")
	flag.BoolVar(&o.full, "full", false, "full snapshots instead of deltas")
	flag.BoolVar(&o.interest, "interest", true, "send each player what is near; false: everything")
	flag.DurationVar(&o.spin, "spin", 0, "see the server's -spin")
	flag.BoolVar(&o.json, "json", false, "one JSON object an engine")
	flag.StringVar(&o.crowd, "crowd", "", "for the program's own use")
	flag.Parse()
	var err error
	if o.crowd != "" {
		// The terminal tells the whole group. This process ends with its input, after the
		// other, which would take its death for a failure.
		signal.Ignore(os.Interrupt, syscall.SIGHUP)
		err = crowd(o, os.Stdin, os.Stdout)
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
		if err = run(ctx, o); ctx.Err() != nil {
			os.Exit(interrupted) // without a word, as the checker does
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gamebench:", err)
		os.Exit(1)
	}
}

// interrupted is the exit status after Ctrl-C, the same as the checker's.
const interrupted = 130

// run measures one engine after the other. When ctx is done it returns soon, and the
// crowd's process is gone by then.
func run(ctx context.Context, o options) error {
	if o.players < 1 || o.seconds < 1 || o.answer < 1 {
		return errors.New("-players, -seconds and -answer should be at least 1")
	}
	if o.size == 0 {
		o.size = sizeFor(o.players)
	}
	if err := gameConfig(o).Check(); err != nil {
		return err
	}
	names := strings.Split(o.engines, ",")
	if o.engines == "all" {
		names = nil
		for _, e := range engines.All() {
			if e.Solution() {
				names = append(names, e.Name)
			}
		}
	}
	var chosen []engines.Engine
	for _, name := range names {
		e, err := engines.Find(name, engines.Solutions)
		if err != nil {
			return err
		}
		chosen = append(chosen, e)
	}
	if !o.json {
		fmt.Printf("%d players, %d Hz, %d seconds each, a world of %d by %d tiles, interest %v, deltas %v, %d inputs and acks a second each, %s/%s, %d processors\n\n",
			o.players, o.rate, o.seconds, o.size, o.size, o.interest, !o.full, o.rate/o.answer, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
		fmt.Println(header())
	}
	var failed []string
	for _, e := range chosen {
		r, err := measure(ctx, e, o)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, e.Name)
			r = result{Engine: e.Name, Error: err.Error()}
		}
		if o.json {
			err = json.NewEncoder(os.Stdout).Encode(r)
		} else {
			_, err = fmt.Println(row(r))
		}
		if err != nil {
			return fmt.Errorf("the result cannot be written: %w", err)
		}
	}
	if !o.json {
		fmt.Print(legend)
	}
	if len(failed) > 0 {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

const columns = "%-20s %9s %9s %9s %11s %11s %11s %9s %9s %11s %7s %9s %6s"

func header() string {
	return fmt.Sprintf(columns, "engine", "late p50", "late p99", "late max", ">2ms", "overruns", "dropped", "last p50", "last p99", "last: of", "bytes", "replaced", "CPU")
}

// row is a line of the table. What is counted in ticks says of how many.
func row(r result) string {
	if r.Error != "" {
		return fmt.Sprintf("%-20s %s", r.Engine, r.Error)
	}
	of := func(n, all uint64) string { return fmt.Sprintf("%d/%d", n, all) }
	return fmt.Sprintf(columns, r.Engine, ms(r.LateP50), ms(r.LateP99), ms(r.LateMax),
		of(uint64(r.Late2ms), r.Ticks), of(r.Overruns, r.Ticks), of(r.Dropped, r.Ticks+r.Dropped),
		last(r, r.LastP50), last(r, r.LastP99), of(uint64(r.LastTicks), r.Ticks),
		fmt.Sprintf("%.0f", r.Bytes), fmt.Sprint(r.Replaced), fmt.Sprintf("%.0f%%", 100*r.CPU))
}

const legend = `
late       how long after its time a tick began; >2ms: ticks that were later than that, of all ticks
overruns   ticks that took longer than one lasts, of all; dropped: ticks that were never made, of those that were due
last       from a tick's beginning until the last player had its snapshot, over the ticks of which every player had
           one: so many of all. Where a snapshot is replaced by a newer one, a tick is not among them
bytes      of a snapshot, on average; replaced: snapshots that a newer one replaced before they were sent
`

// last is a time until the last player had its snapshot, if there was a tick of which all
// players had one.
func last(r result, d time.Duration) string {
	if r.LastTicks == 0 {
		return "-"
	}
	return ms(d)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// sizeFor is the side of a world in which the nine cells around a player hold about six
// players.
func sizeFor(players int) int {
	const view = 24 * 24 // tiles
	side := 24
	for side*side < players*view/6 {
		side += 8
	}
	return side
}

func gameConfig(o options) gameloop.Config {
	return gameloop.Config{Rate: o.rate, Width: o.size, Height: o.size, Seed: 1, MaxPlayers: o.players, Interest: o.interest, FullOnly: o.full}
}

// result is one engine's.
type result struct {
	Engine, How, Timer string
	Players, Seconds   int
	Ticks              uint64
	LateP50, LateP99   time.Duration // how long after its time a tick began
	LateMax            time.Duration
	Late2ms            int // ticks that began more than 2 ms late
	Overruns, Dropped  uint64
	LastP50, LastP99   time.Duration // from a tick's beginning until the last player has its snapshot
	LastTicks          int           // ticks of Ticks of which every player got a snapshot
	Bytes              float64       // of a snapshot, on average
	Replaced           uint64
	CPU                float64 // of one processor
	Calls              uint64  // system calls

	Error string `json:",omitempty"` // why there is nothing else
}

// watched is the game, with a note of when each tick began.
type watched struct {
	*gameloop.Game
	begins map[uint32]int64 // unix nanoseconds, by tick
	tick   uint32
}

func (w *watched) Step() {
	w.tick++
	w.begins[w.tick] = time.Now().UnixNano()
	w.Game.Step()
}

// server runs the loop on a goroutine of its own, until quit.
type server struct {
	loop *gameloop.Loop
	game *watched
	do   chan func()
	done chan error
}

func (s *server) run(ctx context.Context) {
	runtime.LockOSThread()
	for ctx.Err() == nil {
		select {
		case f := <-s.do:
			f()
		default:
		}
		if err := s.loop.Poll(50 * time.Millisecond); err != nil {
			s.done <- err
			return
		}
	}
	s.done <- s.loop.Close()
}

// ask runs f between two turns. It returns the error with which the loop has ended, if it
// has, or ctx's: then f is not run.
func (s *server) ask(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.do <- func() { f(); close(done) }:
		<-done
		return nil
	case err := <-s.done:
		s.done <- err // for who waits for the end
		return cmp.Or(err, engine.ErrClosed)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func measure(ctx context.Context, e engines.Engine, o options) (r result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{do: make(chan func()), done: make(chan error, 1), game: &watched{Game: gameloop.New(gameConfig(o)), begins: map[uint32]int64{}}}
	ready := make(chan error)
	go func() { // an engine may belong to the thread that makes it
		runtime.LockOSThread()
		below, err := e.New(engine.Config{Backlog: 4096}, s.game)
		if err == nil {
			s.loop = gameloop.NewLoop(below, s.game, gameloop.LoopConfig{Rate: o.rate, Spin: o.spin})
		}
		ready <- err
		if err == nil {
			s.run(ctx)
		}
	}()
	if err := <-ready; err != nil {
		return r, err
	}
	defer func() {
		cancel()
		<-s.done
	}()

	exe, err := os.Executable()
	if err != nil {
		return r, err
	}
	players := exec.CommandContext(ctx, exe, "-crowd", s.loop.Addr().String(), "-players", fmt.Sprint(o.players), "-rate", fmt.Sprint(o.rate), "-answer", fmt.Sprint(o.answer))
	players.Stderr = os.Stderr
	in, err := players.StdinPipe()
	if err != nil {
		return r, err
	}
	out, err := players.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := players.Start(); err != nil {
		return r, err
	}
	defer func() {
		cancel() // it may have more to say than anybody reads
		players.Wait()
	}()
	defer in.Close()
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		return r, fmt.Errorf("the players could not all join: %w", err)
	}
	sleep(ctx, time.Second) // until everybody has a baseline

	var from, to moment
	if err := s.ask(ctx, func() { from = s.now() }); err != nil {
		return r, err
	}
	sleep(ctx, time.Duration(o.seconds)*time.Second)
	if err := s.ask(ctx, func() { to = s.now() }); err != nil {
		return r, err
	}
	in.Close()
	var seen []receipt
	if err := json.NewDecoder(lines).Decode(&seen); errors.Is(err, io.EOF) {
		return r, errors.New("the players' process ended before it had said what they saw; without them nothing was measured")
	} else if err != nil {
		return r, fmt.Errorf("what the players say cannot be read: %w", err)
	}
	return report(e, o, from, to, seen), nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// moment is what the server's counters say at one time.
type moment struct {
	loop   gameloop.LoopStats
	game   gameloop.Stats
	calls  uint64
	cpu    time.Duration
	at     time.Time
	begins map[uint32]int64
}

func (s *server) now() moment {
	engine := s.loop.Stats()
	m := moment{loop: s.loop.LoopStats(), game: s.game.Stats(), calls: engine.Total(), at: time.Now(), begins: s.game.begins}
	m.cpu, _ = probe.ProcessCPU(os.Getpid())
	s.game.begins = map[uint32]int64{}
	return m
}

func report(e engines.Engine, o options, from, to moment, seen []receipt) result {
	loop := to.loop.Since(from.loop)
	r := result{
		Engine: e.Name, How: e.How, Timer: e.Timer, Players: o.players, Seconds: o.seconds,
		Ticks: loop.Ticks, Dropped: loop.Dropped, Overruns: loop.Overruns,
		LateP50: loop.Late.Percentile(50), LateP99: loop.Late.Percentile(99), LateMax: loop.Late.Max,
		Late2ms:  int(loop.Late.Above(2 * time.Millisecond)),
		Replaced: to.game.Replaced - from.game.Replaced,
		CPU:      float64(to.cpu-from.cpu) / float64(to.at.Sub(from.at)),
		Calls:    to.calls - from.calls,
	}
	if n := to.game.Snapshots - from.game.Snapshots; n > 0 {
		r.Bytes = float64(to.game.BytesQueued-from.game.BytesQueued) / float64(n)
	}
	var last []time.Duration
	for _, s := range seen {
		if begin, ok := to.begins[s.Tick]; ok && s.Players == o.players {
			last = append(last, time.Duration(s.Last-begin))
		}
	}
	slices.Sort(last)
	if r.LastTicks = len(last); r.LastTicks > 0 {
		r.LastP50, r.LastP99 = last[len(last)/2], last[len(last)*99/100]
	}
	return r
}
