package arena

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"iolab/checker/gameclient"
)

// The bots live in a process of their own, so that the server's descriptors and
// processor time are the server's. It reads commands, one a line:
//
//	bots 500    have so many
//	freeze 17   the bot with this player stops reading, and everything else
//	freeze all
//	thaw        all go on; those that were dropped join again
//
// and writes a [botReport] as JSON ten times a second. At the end of its input it
// ends.

// botReport is what the bots process says of itself.
type botReport struct {
	Wanted int      `json:"wanted"`
	Joined int      `json:"joined"`
	Frozen []uint32 `json:"frozen"`          // the players, in order
	Known  []uint32 `json:"known"`           // the first of those that can be frozen
	Error  string   `json:"error,omitempty"` // why the last that did not join did not
	Answer string   `json:"answer,omitempty"`
}

// What a bot does: so often it reads what has come, acknowledges the newest of it, and
// sends steps.
const (
	botTurn      = 50 * time.Millisecond
	stepsPerTurn = 3 // 60 a second
	dialers      = 32
	dialWithin   = 10 * time.Second
	dialAgain    = time.Second
)

type crowd struct {
	addr string

	mu     sync.Mutex
	bots   []*bot // as many as are wanted; those beyond have been told to leave
	err    string
	thawed *sync.Cond // signalled when a bot is thawed or told to leave

	dialing chan struct{} // one element for each bot that is joining
}

type bot struct {
	number int
	frozen bool
	leave  bool
	client *gameclient.Client // nil: not joined
	id     uint32
	token  gameclient.Token
}

// runBots is the bots process.
func runBots(addr string, in io.Reader, out io.Writer) error {
	c := &crowd{addr: addr, dialing: make(chan struct{}, dialers)}
	c.thawed = sync.NewCond(&c.mu)
	answers := make(chan string, 16)
	ended := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			answers <- c.command(lines.Text())
		}
		c.resize(0)
		ended <- lines.Err()
	}()
	encoder := json.NewEncoder(out)
	report := time.NewTicker(100 * time.Millisecond)
	defer report.Stop()
	for {
		var answer string
		select {
		case err := <-ended:
			return err
		case <-report.C:
		case answer = <-answers:
		}
		r := c.report()
		r.Answer = answer
		if err := encoder.Encode(r); err != nil {
			return err // whoever started this is gone
		}
	}
}

// command does what line says, and answers.
func (c *crowd) command(line string) string {
	word, arg, _ := strings.Cut(line, " ")
	n, err := strconv.ParseUint(arg, 10, 32)
	switch {
	case word == "bots" && err == nil:
		c.resize(int(n))
		return "ok"
	case word == "freeze" && arg == "all":
		return fmt.Sprint("ok ", c.freeze(func(*bot) bool { return true })) // also who is joining
	case word == "freeze" && err == nil:
		if c.freeze(func(b *bot) bool { return b.client != nil && b.id == uint32(n) }) == 0 {
			return "none"
		}
		return "ok 1"
	case word == "thaw":
		return fmt.Sprint("ok ", c.thaw())
	}
	return "not a command: " + line
}

// resize starts bots, or has the last ones leave.
func (c *crowd) resize(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.bots) < n {
		b := &bot{number: len(c.bots)}
		c.bots = append(c.bots, b)
		go c.live(b)
	}
	for _, b := range c.bots[n:] {
		b.leave = true
		if b.client != nil {
			b.client.Conn.SetDeadline(time.Now()) // it may be waiting
		}
	}
	c.bots = c.bots[:n]
	c.thawed.Broadcast()
}

// freeze freezes the bots for which which is true.
func (c *crowd) freeze(which func(*bot) bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.bots {
		if which(b) {
			b.frozen = true
			n++
		}
	}
	return n
}

func (c *crowd) thaw() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.bots {
		if b.frozen {
			b.frozen = false
			n++
		}
	}
	c.thawed.Broadcast()
	return n
}

func (c *crowd) report() botReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := botReport{Wanted: len(c.bots), Frozen: []uint32{}, Known: []uint32{}, Error: c.err}
	for _, b := range c.bots {
		if b.client == nil {
			continue
		}
		r.Joined++
		if b.frozen {
			r.Frozen = append(r.Frozen, b.id)
		}
		r.Known = append(r.Known, b.id)
	}
	slices.Sort(r.Frozen)
	slices.Sort(r.Known)
	r.Known = r.Known[:min(len(r.Known), 32)]
	return r
}

// live is a bot's goroutine: it joins, and joins again when it was dropped, until it
// is told to leave.
func (c *crowd) live(b *bot) {
	for !c.left(b) {
		c.dialing <- struct{}{}
		client, err := gameclient.Dial(c.addr, gameclient.Options{Token: b.token, Timeout: dialWithin})
		<-c.dialing
		if gameclient.IsRefusal(err, gameclient.ErrorToken) {
			b.token = gameclient.Token{} // the player is gone: a new one
			continue
		}
		c.mu.Lock()
		if err != nil {
			c.err = err.Error()
		} else {
			c.err = ""
			b.client, b.id, b.token = client, client.Welcome.ID, client.Welcome.Token
		}
		c.mu.Unlock()
		if err != nil {
			time.Sleep(dialAgain)
			continue
		}
		c.play(b)
		c.mu.Lock()
		b.client = nil
		c.mu.Unlock()
		client.Conn.Close()
	}
}

func (c *crowd) left(b *bot) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return b.leave
}

// play plays until the connection ends or the bot is told to leave.
func (c *crowd) play(b *bot) {
	w := walker{heading: rand.Float64() * 2 * math.Pi, speed: 0.35 + 0.65*rand.Float64()}
	sequence := b.client.Welcome.Sequence
	var out []byte
	time.Sleep(time.Duration(rand.Int64N(int64(botTurn)))) // not all at once
	for {
		c.mu.Lock()
		for b.frozen && !b.leave {
			c.thawed.Wait()
		}
		leave := b.leave
		c.mu.Unlock()
		if leave {
			b.client.Leave()
			return
		}
		tick, err := b.read(&w)
		if err != nil {
			if c.left(b) {
				continue
			}
			return
		}
		out = gameclient.AppendAck(out[:0], tick)
		for range stepsPerTurn {
			sequence++
			out = gameclient.AppendInput(out, sequence, w.dx, w.dy)
		}
		if _, err := b.client.Conn.Write(out); err != nil {
			if c.left(b) {
				continue
			}
			return
		}
		time.Sleep(botTurn)
	}
}

// read takes what has come and returns the tick of the newest snapshot.
func (b *bot) read(w *walker) (tick uint32, err error) {
	for tick == 0 || b.client.Reader.Buffered() > 0 {
		t, body, err := b.client.Reader.Next()
		if err != nil {
			return 0, err
		}
		if t != gameclient.Snapshot {
			continue // an error frame: the end of data follows
		}
		h, err := gameclient.ParseSnapshot(body)
		if err != nil {
			return 0, err
		}
		tick = h.Tick
		if p, ok := gameclient.Find(body, h, b.id); ok {
			w.at(p.X, p.Y)
		}
	}
	w.turn()
	return tick, nil
}

// walker is where a bot wants to go.
type walker struct {
	heading, speed float64
	x, y           int32
	moved          bool
	dx, dy         int16
}

func (w *walker) at(x, y int32) {
	w.moved = w.moved || abs(x-w.x)+abs(y-w.y) > gameclient.MaxSpeed/8
	w.x, w.y = x, y
}

func abs(n int32) int32 { return max(n, -n) }

// turn goes about straight on, or another way where it did not get on.
func (w *walker) turn() {
	if w.moved {
		w.heading += 0.12 * rand.NormFloat64()
	} else {
		w.heading = rand.Float64() * 2 * math.Pi
	}
	w.moved = false
	step := (gameclient.MaxSpeed - 1) * w.speed
	w.dx, w.dy = int16(step*math.Cos(w.heading)), int16(step*math.Sin(w.heading))
}
