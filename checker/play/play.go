// Package play is `go run ./checker play`: a client of lesson 07's server for people
// with a terminal.
//
// One goroutine, that of [Run], owns the game, the connection's output and the screen;
// others read the keyboard and the connection and pass on what they get.
package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/term"

	"iolab/checker/gameclient"
	"iolab/checker/gameserver"
)

// Options are the command line of the terminal client.
type Options struct {
	Root     string // of the clone
	Addr     string // of a server that runs; "": one is started
	Solution bool   // it is the solution's
	Engine   string // it runs on this
	For      time.Duration
	ASCII    bool
	Plain    bool // no colours

	In, Out *os.File
	Err     io.Writer
}

// ErrInterrupted is what Run returns after Ctrl-C.
var ErrInterrupted = errors.New("interrupted")

// Run plays until q is pressed, the server ends, or ctx is done.
func Run(ctx context.Context, o Options) error {
	g := &game{options: o, addr: o.Addr}
	if o.Addr != "" {
		if _, _, err := net.SplitHostPort(o.Addr); err != nil {
			return &gameserver.UsageError{Text: fmt.Sprintf("-addr wants a host and a port, as in 127.0.0.1:7000, and not %q", o.Addr)}
		}
	} else {
		stop, err := g.serve(ctx)
		if err != nil {
			return err
		}
		defer stop()
	}
	client, err := gameclient.DialContext(ctx, g.addr, gameclient.Options{})
	switch {
	case ctx.Err() != nil:
		if err == nil {
			client.Conn.Close()
		}
		return ErrInterrupted
	case err != nil:
		return g.lost(g.notJoined(err))
	}
	defer client.Conn.Close()
	g.join(client)
	if o.For > 0 { // from now: to build a server takes what it takes
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	why := notDrawable(o)
	if why == "" {
		restore, err := drawOn(o.Out)
		if err != nil {
			why = fmt.Sprintf("play: this console cannot be drawn on (%v), so one command a line (help shows them).", err)
		} else {
			defer restore()
		}
	}
	if why != "" {
		fmt.Fprintln(o.Err, why)
		err = g.lines(ctx)
	} else {
		err = g.screen(ctx)
	}
	if err == nil || errors.Is(err, ErrInterrupted) {
		g.client.Leave()
	}
	return err
}

// notJoined is the error of a game that cannot be joined, with what to do about it.
func (g *game) notJoined(err error) error {
	var network net.Error
	var refusal gameclient.Refusal
	switch {
	case errors.As(err, &refusal):
		return fmt.Errorf("joining the game on %s: the server says: %w", g.addr, err)
	case !errors.As(err, &network): // whoever is there was heard
		err = fmt.Errorf("what listens there does not speak the game's protocol (%w)", err)
	case network.Timeout():
		err = fmt.Errorf("there is no answer (%w)", err)
	}
	if g.server != nil {
		return fmt.Errorf("joining the game on %s: %w", g.addr, err)
	}
	return fmt.Errorf("joining the game on %s: %w. Is it a game server's address? Without -addr a server is started", g.addr, err)
}

// notDrawable says why there is nothing to draw on, if there is not.
func notDrawable(o Options) string {
	switch {
	case !term.IsTerminal(int(o.In.Fd())):
		return "play: the keyboard is not a terminal, so one command a line (help shows them)."
	case !term.IsTerminal(int(o.Out.Fd())):
		return "play: the output is not a terminal, so one command a line (help shows them)."
	case os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" && !onWindows:
		return "play: this terminal cannot be drawn on (TERM=" + os.Getenv("TERM") + "), so one command a line (help shows them)."
	}
	return ""
}

// serve starts a server of one's own.
func (g *game) serve(ctx context.Context) (stop func(), err error) {
	o := g.options
	engine, err := gameserver.Engine(o.Engine, o.Solution)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "iolab-play-")
	if err != nil {
		return nil, err
	}
	program, err := gameserver.Build(ctx, o.Root, dir, o.Solution)
	var server *gameserver.Server
	if err == nil {
		server, err = gameserver.Start(ctx, program, "127.0.0.1:0", engine)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, gameserver.Explain(err, engine)
	}
	g.addr, g.server, g.engine = server.Addr, server, engine
	fmt.Fprintf(o.Err, "play: a server on %s listens on %s. Somebody else on this machine joins with\n\n  go run ./checker play -addr %s\n\n", engine, server.Addr, server.Addr)
	return func() {
		server.Stop()
		os.RemoveAll(dir)
	}, nil
}

// game is what this client knows.
type game struct {
	options Options
	addr    string
	server  *gameserver.Server // nil: somebody else's
	engine  string             // of one's own server

	client   *gameclient.Client
	walls    [][]bool
	view     gameclient.View
	frames   chan frame
	sequence uint32 // of the last input
	out      []byte

	dx, dy int16     // the step of every tick
	until  time.Time // so long
	pinged time.Time // when the last ping went
	ping   time.Duration
	heard  time.Time // when the last frame came
}

// frame is what the server sent, or why it sends no more.
type frame struct {
	t    byte
	body []byte
	err  error
}

func (g *game) join(c *gameclient.Client) {
	g.client, g.walls, g.sequence = c, gameclient.Walls(c.Welcome), c.Welcome.Sequence
	g.ping, g.heard = -1, time.Now()
	g.frames = make(chan frame, 64)
	go g.guarded(func() {
		for {
			t, body, err := c.Reader.Next()
			g.frames <- frame{t, slices.Clone(body), err}
			if err != nil {
				return
			}
		}
	})
}

// take takes in a frame. An error is the end of the game.
func (g *game) take(f frame) error {
	g.heard = time.Now()
	switch {
	case f.err != nil:
		if errors.Is(f.err, io.EOF) {
			return g.lost(fmt.Errorf("the connection to %s is lost: the server has closed it without a word, or has ended", g.addr))
		}
		return g.lost(fmt.Errorf("the connection to %s is lost: %w", g.addr, f.err))
	case f.t == gameclient.Snapshot:
		h, err := g.view.Apply(f.body)
		if err != nil {
			return err
		}
		return g.send(gameclient.AppendAck(g.out[:0], h.Tick))
	case f.t == gameclient.Pong:
		if nonce, _, err := gameclient.ParsePong(f.body); err == nil && nonce == uint64(g.pinged.UnixNano()) {
			g.ping = time.Since(g.pinged)
		}
	case f.t == gameclient.Error:
		refusal, err := gameclient.ParseError(f.body)
		if err != nil {
			return err
		}
		return fmt.Errorf("the server on %s says: %w", g.addr, refusal)
	}
	return nil
}

// lost is the better reason for err, if one's own server has one.
func (g *game) lost(err error) error {
	if g.server != nil {
		select {
		case <-g.server.Done():
			return gameserver.Explain(g.server.Err(), g.engine)
		case <-time.After(2 * time.Second):
		}
	}
	return err
}

func (g *game) write(p []byte) error {
	g.out = p
	g.client.Conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, err := g.client.Conn.Write(p)
	return err
}

// send writes p. If that fails, what the server has said before it ended says more than
// that nothing can be written, and may wait behind some snapshots.
func (g *game) send(p []byte) error {
	err := g.write(p)
	if err == nil {
		return nil
	}
	for limit := time.After(2 * time.Second); ; {
		select {
		case f := <-g.frames:
			if f.err != nil || f.t == gameclient.Error {
				return g.take(f)
			}
		case <-limit:
			return g.lost(fmt.Errorf("the connection to %s is lost: %w", g.addr, err))
		}
	}
}

// speed is the step of a tick: a good five tiles a second.
const speed = 24

// head moves on from now, for a while.
func (g *game) head(d direction, lasts time.Duration) {
	g.dx, g.dy, g.until = d.dx*speed, d.dy*speed, time.Now().Add(lasts)
}

// step sends the input of a tick, if there is one.
func (g *game) step() error {
	if g.dx == 0 && g.dy == 0 || time.Now().After(g.until) {
		g.dx, g.dy = 0, 0
		return nil
	}
	g.sequence++
	return g.send(gameclient.AppendInput(g.out[:0], g.sequence, g.dx, g.dy))
}

// ask sends a ping.
func (g *game) ask() error {
	g.pinged = time.Now()
	return g.send(gameclient.AppendPing(g.out[:0], uint64(g.pinged.UnixNano())))
}

// tick is the time of one.
func (g *game) tick() time.Duration { return time.Second / time.Duration(g.client.Welcome.Rate) }

func (g *game) me() (gameclient.Player, bool) {
	p, ok := g.view.Players[g.client.Welcome.ID]
	return p, ok
}

// others are the other players in view, the nearest first, and where they are from here,
// in tiles.
func (g *game) others() []other {
	me, ok := g.me()
	if !ok {
		return nil
	}
	var list []other
	for id, p := range g.view.Players {
		if id != me.ID {
			list = append(list, other{id, tiles(p.X - me.X), tiles(p.Y - me.Y)})
		}
	}
	slices.SortFunc(list, func(a, b other) int {
		if d := math.Hypot(a.dx, a.dy) - math.Hypot(b.dx, b.dy); d != 0 {
			return int(math.Copysign(1, d))
		}
		return int(a.id) - int(b.id)
	})
	return list
}

type other struct {
	id     uint32
	dx, dy float64
}

func tiles(units int32) float64 { return float64(units) / gameclient.Tile }

// direction is where a key points.
type direction struct{ dx, dy int16 }

var (
	up    = direction{0, -1}
	down  = direction{0, 1}
	left  = direction{-1, 0}
	right = direction{1, 0}
)
