package play

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"iolab/checker/gameclient"
)

// How the screen feels. A terminal says that a key is pressed, and again and again while
// it is held, but not that it is let go: a press moves for a little longer than the wait
// for the first repetition.
const (
	pressLasts = 350 * time.Millisecond
	drawEvery  = 33 * time.Millisecond
	pingEvery  = time.Second
	silentFor  = 2 * time.Second // a server that sends nothing for longer is said to
)

// What is written to a terminal that can be drawn on (ECMA-48, and xterm's alternate
// screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[2J" // the other screen, no cursor, empty
	leaveScreen = "\x1b[0m\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen plays on the whole terminal. However it ends, by a panic or a signal too, the
// terminal is as it was.
func (g *game) screen(ctx context.Context) (err error) {
	in := int(g.options.In.Fd())
	before, err := term.MakeRaw(in)
	if err != nil {
		return fmt.Errorf("the keyboard cannot be read key by key: %w", err)
	}
	defer func() {
		fmt.Fprint(g.options.Out, leaveScreen)
		term.Restore(in, before)
	}()
	fmt.Fprint(g.options.Out, enterScreen)
	keys := make(chan key, 16)
	go g.guarded(func() { readKeys(g.options.In, keys) })
	ticks, draws, pings := time.NewTicker(g.tick()), time.NewTicker(drawEvery), time.NewTicker(pingEvery)
	defer ticks.Stop()
	defer draws.Stop()
	defer pings.Stop()
	if err := g.ask(); err != nil {
		return err
	}
	for {
		err := error(nil)
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // -for
			}
			return ErrInterrupted
		case k := <-keys:
			switch k {
			case keyQuit:
				return nil
			case keyInterrupt:
				return ErrInterrupted
			case keyStop:
				g.until = time.Time{}
			default:
				g.head(k.direction(), pressLasts)
			}
		case f := <-g.frames:
			err = g.take(f)
		case <-ticks.C:
			err = g.step()
		case <-pings.C:
			err = g.ask()
		case <-draws.C:
			err = g.draw()
		}
		if err != nil {
			return err
		}
	}
}

// guarded runs f on a goroutine beside the loop. A panic there must not end the process
// before the terminal is put right, so it becomes the loop's error.
func (g *game) guarded(f func()) {
	defer func() {
		if v := recover(); v != nil {
			g.frames <- frame{err: fmt.Errorf("panic: %v\n%s", v, debug.Stack())}
		}
	}()
	f()
}

// draw draws the screen in one write, whatever size it has now.
func (g *game) draw() error {
	w, h, err := term.GetSize(int(g.options.Out.Fd()))
	if err != nil || w < 1 || h < 1 {
		return nil // there may be one again
	}
	_, err = g.options.Out.Write(g.render(w, h))
	return err
}

// glyphs are what things look like.
type glyphs struct{ wall, floor, me, other, dot string }

var (
	unicodeGlyphs = glyphs{"██", "  ", "●", "○", "·"} // not told apart by colour alone
	asciiGlyphs   = glyphs{"##", "  ", "@", "o", "-"}
)

// Colours of the parts.
const (
	colorNone  = ""
	colorWall  = "\x1b[38;5;240m"
	colorFloor = "\x1b[0m"
	colorMe    = "\x1b[1;38;5;220m"
	colorFaint = "\x1b[38;5;245m"
	colorReset = "\x1b[0m"
)

var colorOthers = []string{"\x1b[38;5;75m", "\x1b[38;5;78m", "\x1b[38;5;176m", "\x1b[38;5;209m", "\x1b[38;5;80m"}

// cell is one column of one row.
type cell struct {
	text  string
	color string
}

// render is a screen of w columns and h rows: the world around the player, two columns a
// tile, and two lines below it.
func (g *game) render(w, h int) []byte {
	look := unicodeGlyphs
	if g.options.ASCII {
		look = asciiGlyphs
	}
	out := []byte(home)
	rows := max(h-2, 0)
	me, here := g.me()
	// The tile in the middle, in half tiles across: a player can stand between two.
	const half = gameclient.Tile / 2
	x0, y0 := int(me.X/half)-w/2, int(me.Y/gameclient.Tile)-rows/2
	grid := make([][]cell, rows)
	for y := range grid {
		grid[y] = make([]cell, w)
		for x := range grid[y] {
			grid[y][x] = g.tile(look, x0+x, y0+y)
		}
	}
	for _, p := range g.view.Players {
		x, y := int(p.X/half)-x0, int(p.Y/gameclient.Tile)-y0
		if x < 0 || x >= w || y < 0 || y >= rows || p.ID == me.ID {
			continue
		}
		grid[y][x] = cell{look.other, colorOthers[int(p.ID)%len(colorOthers)]}
	}
	if here && rows > 0 {
		grid[rows/2][w/2] = cell{look.me, colorMe}
	}
	for _, row := range grid {
		out = g.line(out, row) // as wide as the screen: to clear the rest would clear its end
		out = append(out, "\r\n"...)
	}
	for i, text := range g.status(look)[:min(h, 2)] {
		if i > 0 {
			out = append(out, "\r\n"...)
		}
		out = append(out, g.color(colorFaint)...)
		out = append(out, fit(text, w-1)...)
		out = append(out, g.color(colorReset)+clearLine...)
	}
	return append(out, clearBelow...)
}

// tile is the half of a tile at column x (in half tiles) and row y.
func (g *game) tile(look glyphs, x, y int) cell {
	col := x >> 1
	switch {
	case y < 0 || y >= len(g.walls) || col < 0 || col >= len(g.walls[y]):
		return cell{" ", colorNone}
	case g.walls[y][col]:
		_, n := utf8.DecodeRuneInString(look.wall)
		return cell{look.wall[:n], colorWall}
	}
	return cell{" ", colorNone}
}

func (g *game) line(out []byte, row []cell) []byte {
	now := colorNone
	for _, c := range row {
		if c.color != now && c.text != " " {
			out = append(out, g.color(c.color)...)
			now = c.color
		}
		out = append(out, c.text...)
	}
	if now != colorNone {
		out = append(out, g.color(colorReset)...)
	}
	return out
}

func (g *game) color(c string) string {
	if g.options.Plain {
		return ""
	}
	return c
}

// status are the lines below the world.
func (g *game) status(look glyphs) []string {
	me, here := g.me()
	where := "waiting for the first snapshot"
	if here {
		where = fmt.Sprintf("you are player %d at %.1f, %.1f", me.ID, tiles(me.X), tiles(me.Y))
	}
	if silent := time.Since(g.heard); silent > silentFor {
		where = fmt.Sprintf("the server has said nothing for %.0f s", silent.Seconds())
	}
	ping := "?"
	if g.ping >= 0 {
		ping = fmt.Sprintf("%.1f ms", float64(g.ping)/1e6)
	}
	others := len(g.view.Players)
	if here {
		others--
	}
	sep := "  " + look.dot + "  "
	first := where + sep + fmt.Sprintf("%d others", others) + sep + "ping " + ping + sep + fmt.Sprintf("tick %d", g.view.Tick)
	second := "arrows or WASD move, space stops, q quits" + sep + "server " + g.addr
	if g.server != nil { // this fits into 80 columns
		second = "arrows, q quits" + sep + "second player: go run ./checker play -addr " + g.addr
	}
	return []string{first, second}
}

// fit cuts text to n columns.
func fit(text string, n int) string {
	if n <= 0 {
		return ""
	}
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n])
}
