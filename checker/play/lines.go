package play

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"iolab/checker/gameclient"
)

const lineHelp = `  w, a, s, d [TILES]   walk up, left, down, right
  look                 the world around you
  who                  who is near
  ping                 how long an answer takes, and the tick
  q                    leave
`

// arriveWithin is how long a walk may take beyond its time.
const arriveWithin = 5 * time.Second

// lines plays by commands, one a line: for a terminal that cannot be drawn on, a
// screen reader, a pipe.
func (g *game) lines(ctx context.Context) error {
	commands := make(chan string)
	go func() {
		in := bufio.NewScanner(g.options.In)
		for in.Scan() {
			commands <- in.Text()
		}
		close(commands)
	}()
	if err := g.ask(); err != nil {
		return err
	}
	if err := g.pump(ctx, waitAtMost(arriveWithin), func() bool { _, ok := g.me(); return ok && g.ping >= 0 }); err != nil {
		return g.ended(err)
	}
	g.where()
	for {
		select {
		case <-ctx.Done():
			return g.ended(ctx.Err())
		case f := <-g.frames:
			if err := g.take(f); err != nil {
				return err
			}
		case line, ok := <-commands:
			if !ok {
				return nil
			}
			quit, err := g.obey(ctx, strings.Fields(line))
			if quit || err != nil {
				return g.ended(err)
			}
		}
	}
}

// ended is what Run returns for the end of a context.
func (g *game) ended(err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil
	case errors.Is(err, context.Canceled):
		return ErrInterrupted
	}
	return err
}

func (g *game) say(format string, args ...any) { fmt.Fprintf(g.options.Out, format+"\n", args...) }

func (g *game) obey(ctx context.Context, words []string) (quit bool, err error) {
	if len(words) == 0 {
		return false, nil
	}
	switch words[0] {
	case "q", "quit", "exit":
		return true, nil
	case "w", "s", "a", "d":
		n := 1.0
		if len(words) > 1 {
			if n, err = strconv.ParseFloat(words[1], 64); err != nil || n <= 0 || n > 200 {
				g.say("%q is not a number of tiles from 0 to 200", words[1])
				return false, nil
			}
		}
		if err := g.walk(ctx, map[string]direction{"w": up, "s": down, "a": left, "d": right}[words[0]], n); err != nil {
			return false, err
		}
		g.where()
	case "look":
		g.look()
	case "who":
		g.who()
	case "ping":
		g.ping = -1
		if err := g.ask(); err != nil {
			return false, err
		}
		if err := g.pump(ctx, waitAtMost(arriveWithin), func() bool { return g.ping >= 0 }); err != nil {
			return false, err
		}
		g.say("%.1f ms, tick %d", float64(g.ping)/1e6, g.view.Tick)
	case "help", "?":
		g.say("%s", strings.TrimSuffix(lineHelp, "\n"))
	default:
		g.say("%sthere is no command %q", lineHelp, words[0])
	}
	return false, nil
}

// waitAtMost is a channel that gets a value after d.
func waitAtMost(d time.Duration) <-chan time.Time { return time.After(d) }

// pump takes frames until done, or for as long as limit has nothing.
func (g *game) pump(ctx context.Context, limit <-chan time.Time, done func() bool) error {
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit:
			return errors.New("the server does not answer")
		case f := <-g.frames:
			if err := g.take(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// walk walks n tiles, a step a tick, and waits until the server has applied them all.
func (g *game) walk(ctx context.Context, d direction, n float64) error {
	steps := max(1, int(n*gameclient.Tile/speed+.5))
	ticks := time.NewTicker(g.tick())
	defer ticks.Stop()
	for range steps {
		g.head(d, time.Second)
		if err := g.step(); err != nil {
			return err
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case f := <-g.frames:
				if err := g.take(f); err != nil {
					return err
				}
			case <-ticks.C:
				waiting = false
			}
		}
		// A server that was held up would get too many at once, and drop those.
		if err := g.applied(ctx, ahead); err != nil {
			return err
		}
	}
	return g.applied(ctx, 0)
}

// applied waits until the server has applied all inputs but the last few.
func (g *game) applied(ctx context.Context, few uint32) error {
	return g.pump(ctx, waitAtMost(arriveWithin), func() bool {
		me, ok := g.me()
		return ok && me.Sequence+few >= g.sequence
	})
}

// ahead is how many inputs may be on their way: half of what the server's queue holds.
const ahead = 8

func (g *game) where() {
	if me, ok := g.me(); ok {
		g.say("You are player %d, at %.1f, %.1f, at tick %d.", me.ID, tiles(me.X), tiles(me.Y), g.view.Tick)
	}
}

func (g *game) who() {
	others := g.others()
	if len(others) == 0 {
		g.say("Nobody else is near.")
	}
	for _, o := range others[:min(len(others), 20)] {
		across, along := "right", "down"
		if o.dx < 0 {
			across = "left"
		}
		if o.dy < 0 {
			along = "up"
		}
		g.say("Player %d is %.1f tiles to the %s and %.1f %s.", o.id, max(o.dx, -o.dx), across, max(o.dy, -o.dy), along)
	}
	if more := len(others) - 20; more > 0 {
		g.say("And %d more.", more)
	}
}

// look prints the tiles around the player, in ASCII.
func (g *game) look() {
	me, ok := g.me()
	if !ok {
		return
	}
	const across, along = 15, 7
	x0, y0 := int(me.X/gameclient.Tile)-across, int(me.Y/gameclient.Tile)-along
	var rows [2*along + 1][2*across + 1]byte
	for y := range rows {
		for x := range rows[y] {
			rows[y][x] = '.'
			if ty, tx := y0+y, x0+x; ty < 0 || ty >= len(g.walls) || tx < 0 || tx >= len(g.walls[ty]) {
				rows[y][x] = ' '
			} else if g.walls[ty][tx] {
				rows[y][x] = '#'
			}
		}
	}
	for _, p := range g.view.Players {
		x, y := int(p.X/gameclient.Tile)-x0, int(p.Y/gameclient.Tile)-y0
		if y >= 0 && y < len(rows) && x >= 0 && x < len(rows[y]) {
			rows[y][x] = 'o'
		}
	}
	rows[along][across] = '@'
	for _, row := range rows {
		g.say("%s", strings.TrimRight(string(row[:]), " "))
	}
}
