// Package arena is `go run ./checker arena`: lesson 07's server at work, with bots, in
// a page of the browser.
//
// Four processes: the server; the bots; this one, which looks on as a spectator, reads
// the server's statistics, and serves the page; and the browser. In this one a single
// goroutine, the director's, owns all state, as a loop owns its connections: the others
// bring it news through channels.
package arena

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"iolab/checker/gameclient"
	"iolab/checker/gameserver"
	"iolab/checker/probe"
	"iolab/checker/runner"
)

// Options are the command line of the arena.
type Options struct {
	Root     string // of the clone
	Solution bool   // the solution's server, not the reader's
	Engine   string // "" for the server's default
	Bots     int
	Port     int           // of the page; 0: one that is free
	NoOpen   bool          // do not start the browser
	For      time.Duration // end by itself after this long; 0: never
	BotsArgs []string      // the program, and its arguments, that is the bots
	JSON     bool          // print the addresses as JSON
	Out, Err io.Writer
}

const (
	viewsEvery   = 50 * time.Millisecond
	answerWithin = 15 * time.Second
	joinWithin   = 10 * time.Second
)

const anyPort = "127.0.0.1:0"

// BotsMain is the bots process: Options.BotsArgs should lead to it, with the server's
// address added.
func BotsMain(addr string) error { return runBots(addr, os.Stdin, os.Stdout) }

// Run shows the arena until ctx is done, or until the server does not start.
func Run(ctx context.Context, o Options) error {
	var err error
	if o.Engine, err = gameserver.Engine(o.Engine, o.Solution); err != nil {
		return err
	}
	if max := maxBots(); o.Bots < 0 || o.Bots > max {
		return &gameserver.UsageError{Text: fmt.Sprintf("there can be 0 to %d bots here, and not %d: a bot is a descriptor in two processes (ulimit -n) and a port", max, o.Bots)}
	}
	listener, err := listenPage(o.Port)
	if err != nil {
		return err
	}
	defer listener.Close()
	dir, err := os.MkdirTemp("", "iolab-arena-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := gameserver.Build(ctx, o.Root, dir, o.Solution)
	if err != nil {
		return err
	}
	d := &director{
		options: o, program: program, hub: newHub(), engines: groups(o.Solution),
		engine: o.Engine, listen: anyPort, wanted: o.Bots, giveUp: func() {}, before: make(chan struct{}),
		asked: make(chan request), started: make(chan started), news: make(chan func(), 64), over: make(chan struct{}),
	}
	close(d.before)                      // nothing was before the first run
	if err := d.start(ctx); err != nil { // the first time it is worth waiting for
		return gameserver.Explain(err, d.engine)
	}
	defer d.stop()
	w := newWeb(listener.Addr(), d)
	d.url = w.url()
	d.announce()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.For > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	served := make(chan error, 1)
	go func() { served <- serveWeb(ctx, listener, w) }()
	if !o.NoOpen {
		openBrowser(w.onceURL())
	}
	err = d.direct(ctx)
	cancel()
	return errors.Join(err, <-served)
}

// listenPage listens on the page's port.
func listenPage(port int) (net.Listener, error) {
	if port < 0 || port > 65535 {
		return nil, &gameserver.UsageError{Text: fmt.Sprintf("there is no port %d: give -port a number from 1 to 65535, or leave it out, and a free one is taken", port)}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return nil, portError(port, err)
	}
	return l, nil
}

// portError says why the page cannot have a port. (On Windows the system's own words do.)
func portError(port int, err error) error {
	why := err.Error()
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = "another program listens there"
	case errors.Is(err, fs.ErrPermission):
		why = "this system keeps it for the superuser, like most ports below 1024"
	}
	return fmt.Errorf("the page cannot have port %d: %s. Choose another, as in -port 8080, or leave -port out, and a free one is taken", port, why)
}

// announce prints where the page is, and how to play along.
func (d *director) announce() {
	if d.options.JSON {
		d.invite()
		return
	}
	fmt.Fprintf(d.options.Out, "\n  The arena is at\n\n    %s\n\n", d.url)
	fmt.Fprintf(d.options.Out, "  %s, %s, on %s. To play along, in another terminal:\n\n", whose(d.options.Solution), count(d.options.Bots, "bot", "bots"), d.engine)
	d.invite()
	if d.options.For == 0 {
		fmt.Fprintf(d.options.Out, "  Ctrl-C ends it.\n\n")
	}
}

// invite prints where the server is, which is news when it had to move, too.
func (d *director) invite() {
	if d.options.JSON {
		json.NewEncoder(d.options.Out).Encode(map[string]string{"url": d.url, "addr": d.run.server.Addr})
		return
	}
	fmt.Fprintf(d.options.Out, "    go run ./checker play -addr %s\n\n", d.run.server.Addr)
}

// warn prints what the page shows, too, for who looks at the terminal.
func (d *director) warn(format string, args ...any) {
	fmt.Fprintf(d.options.Err, "arena: "+format+"\n", args...)
}

func whose(solution bool) string {
	if solution {
		return "The solution's server"
	}
	return "Your server"
}

// groups are the engines to choose from, those of the server's own side first.
func groups(solution bool) []Engines {
	yours, theirs := Engines{"yours", gameserver.Engines(false)}, Engines{"the solutions’", gameserver.Engines(true)}
	if solution {
		return []Engines{theirs, yours}
	}
	return []Engines{yours, theirs}
}

// director owns the state of the arena. Its methods run on its goroutine, but for Do
// and those of the hub.
type director struct {
	*hub
	options Options
	program string
	engines []Engines

	url     string // of the page
	engine  string
	listen  string // where the server is to; after the first start, where it did
	wanted  int    // bots
	run     *run   // nil while there is none
	runs    int
	failed  error // why there is none
	asked   chan request
	started chan started
	giveUp  context.CancelFunc // ends the last start, should it still go on
	before  chan struct{}      // closed when all runs that were are gone, and all starts; see chain
	news    chan func()        // of the present run and of earlier ones, each knows which
	over    chan struct{}      // closed when nobody takes news any more

	bots    botReport
	pending []func(answer string) // for each command that the bots have not yet answered
	last    gameserver.Stats      // the newest line of statistics
	second  []gameserver.Stats    // the lines of the last second, the newest last
	used    []usage               // of the last second
	sample  uint64                // of the page
	stats   Stats                 // for the page
	plot    plot
}

// request is a control that somebody used.
type request struct {
	control string
	form    url.Values
	answer  chan<- answer
}

type answer struct {
	said string
	err  error
}

// started is how an attempt to start a run has ended. Who sends it is told whether the
// run is taken, and ends it if not.
type started struct {
	number int
	run    *run
	err    error
	taken  chan<- bool
}

// run is a server with its bots and its spectator.
type run struct {
	number    int
	room      int // for so many players
	server    *gameserver.Server
	crew      *crew // nil: it has ended
	spectator *gameclient.Client
	where     chan where // the newest positions
	began     time.Time
}

// crew is the bots' process.
type crew struct {
	child    *runner.Child
	commands io.WriteCloser
}

// where is what the spectator last saw.
type where struct {
	tick    uint32
	players []byte
}

// Do implements source: it has the director carry it out.
func (d *director) Do(ctx context.Context, control string, form url.Values) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	back := make(chan answer, 1)
	select {
	case d.asked <- request{control, form, back}:
	case <-ctx.Done():
		return "", errors.New("the arena is busy or ending")
	}
	select {
	case a := <-back:
		return a.said, a.err
	case <-ctx.Done():
		return "", errors.New("the arena is busy or ending")
	}
}

// direct is the director's loop.
func (d *director) direct(ctx context.Context) error {
	ticks := time.NewTicker(viewsEvery)
	defer ticks.Stop()
	defer close(d.over)
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-d.asked:
			d.do(ctx, r)
		case s := <-d.started:
			s.taken <- d.adopt(s)
		case f := <-d.news:
			f()
		case <-ticks.C:
			d.show()
		}
	}
}

// start starts a run and waits for it. It is for the first; later ones come through
// started.
func (d *director) start(ctx context.Context) error {
	d.runs++
	r, err := d.startRun(ctx, d.runs, d.listen, d.engine, roomFor(d.wanted))
	if err == nil {
		d.adopt(started{number: d.runs, run: r})
	}
	return err
}

// adopt makes a new run the present one. False: it is not wanted any more, or is none.
func (d *director) adopt(s started) bool {
	if s.number != d.runs { // another was asked for in the meantime
		return false
	}
	if s.err != nil {
		d.failed = gameserver.Explain(s.err, d.engine)
		d.warn("there is no server until you restart it in the page: %v", d.failed)
		return false
	}
	moved := d.listen != anyPort && d.listen != s.run.server.Addr
	d.run, d.listen = s.run, s.run.server.Addr
	d.forget()
	d.pending = []func(string){func(string) {}} // for the command below
	w := s.run.spectator.Welcome
	m := Map{Run: s.run.number, Width: w.Width, Height: w.Height, Cell: gameclient.CellTiles, Walls: make([]byte, 0, w.Width*w.Height)}
	for _, row := range gameclient.Walls(w) {
		for _, wall := range row {
			m.Walls = append(m.Walls, map[bool]byte{true: 1}[wall])
		}
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and bytes
	}
	d.setMap(text)
	fmt.Fprintf(s.run.crew.commands, "bots %d\n", d.wanted)
	go d.watch(s.run)
	select {
	case <-s.run.crew.child.Done(): // before it was the present run's, and so nobody's
		d.missed(s.run.crew)
	default:
	}
	if moved {
		if !d.options.JSON {
			fmt.Fprint(d.options.Out, "  The server has another address now, since somebody else has the one it had. To play along:\n\n")
		}
		d.invite()
	}
	return true
}

// forget forgets what was seen of the run before.
func (d *director) forget() {
	d.bots, d.last, d.second, d.stats, d.used = botReport{Wanted: d.wanted}, gameserver.Stats{}, nil, Stats{CPU: -1}, nil
	d.plot = plot{}
}

// stop ends the present run, and waits until that and all that were before are gone.
func (d *director) stop() {
	d.giveUp()
	d.retire()
	<-d.before
}

// retire has the present run end, and does not wait for that.
func (d *director) retire() {
	if old := d.run; old != nil {
		d.run = nil
		d.chain(old.stop)
		d.answer("restart")
	}
}

// answer gives an answer to all that wait for one of the bots', who will not give it.
func (d *director) answer(got string) {
	for _, answered := range d.pending {
		answered(got)
	}
	d.pending = nil
}

// chain runs f on a goroutine when all that was chained before is done. Runs share a port,
// so they end and start strictly one after the other, however fast the controls are used.
func (d *director) chain(f func()) {
	before, done := d.before, make(chan struct{})
	d.before = done
	go func() {
		defer close(done)
		<-before
		f()
	}()
}

func (r *run) stop() {
	if r.spectator != nil {
		r.spectator.Conn.Close()
	}
	if r.crew != nil {
		r.crew.commands.Close()
		r.crew.child.Stop(time.Second)
	}
	r.server.Stop()
}

// startRun starts a server, the bots, and the spectator. It may take a while and runs
// on any goroutine.
func (d *director) startRun(ctx context.Context, number int, listen, engine string, room int) (*run, error) {
	flags := []string{"-interest", "-players", strconv.Itoa(room)}
	server, err := gameserver.Start(ctx, d.program, listen, engine, flags...)
	if err != nil && listen != anyPort && portTaken(listen) {
		server, err = gameserver.Start(ctx, d.program, anyPort, engine, flags...)
	}
	if err != nil {
		return nil, err
	}
	r := &run{number: number, server: server, room: room, where: make(chan where, 1), began: time.Now()}
	if r.crew, err = d.startCrew(r); err == nil {
		r.spectator, err = gameclient.DialContext(ctx, server.Addr, gameclient.Options{Spectator: true, Timeout: joinWithin})
	}
	if err != nil {
		select {
		case <-server.Done(): // it says why better than its client
			err = server.Err()
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
		r.stop()
		return nil, err
	}
	return r, nil
}

// portTaken says whether somebody else listens on addr.
func portTaken(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
	}
	return err != nil
}

// startCrew starts the bots' process for r, without a bot.
func (d *director) startCrew(r *run) (*crew, error) {
	c := &crew{}
	args := append(slices.Clone(d.options.BotsArgs), r.server.Addr)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	cmd.Stdout = &jsonLines{each: func(line []byte) {
		var b botReport
		if json.Unmarshal(line, &b) == nil {
			d.tell(r, func() { d.heard(b) })
		}
	}}
	var err error
	if c.commands, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.child, err = runner.StartChild(cmd); err != nil {
		return nil, fmt.Errorf("the bots do not start: %w", err)
	}
	go func() {
		<-c.child.Done()
		d.tell(r, func() { d.missed(c) })
	}()
	return c, nil
}

// missed notes that the bots' process has ended by itself.
func (d *director) missed(c *crew) {
	if d.run.crew != c {
		return // noticed already
	}
	status, signal := c.child.Ended()
	how := fmt.Sprintf("status %d", status)
	if status < 0 {
		how = "signal: " + signal
	}
	d.run.crew, d.bots = nil, botReport{Wanted: d.wanted}
	d.plot.botless = how
	d.answer("ended")
	d.warn("the bots' process has ended (%s). To start it anew, set the number of bots in the page", how)
}

// jsonLines is a writer that hands on whole lines.
type jsonLines struct {
	each func([]byte)
	part []byte
}

func (l *jsonLines) Write(p []byte) (int, error) {
	l.part = append(l.part, p...)
	for {
		n, line, err := bufio.ScanLines(l.part, false)
		if n == 0 || err != nil {
			return len(p), nil
		}
		l.each(line)
		l.part = l.part[n:]
	}
}

// tell has the director do f, unless r is not its run any more.
func (d *director) tell(r *run, f func()) {
	select {
	case d.news <- func() {
		if d.run == r {
			f()
		}
	}:
	case <-d.over:
	}
}

// watch brings the director what the run has to say, until it is over.
func (d *director) watch(r *run) {
	go r.look(d)
	for {
		select {
		case s := <-r.server.Stats:
			d.tell(r, func() { d.measured(s) })
		case <-r.server.Done():
			d.tell(r, func() {
				d.failed = gameserver.Explain(r.server.Err(), d.engine)
				d.warn("there is no server until you restart it in the page: %v", d.failed)
				d.retire()
			})
			return
		}
	}
}

// look is the spectator: it sees everything, and keeps what the page is shown.
func (r *run) look(d *director) {
	var view gameclient.View
	var seen time.Time
	var said error // by the server, in an error frame
	width, height := int64(r.spectator.Welcome.Width*gameclient.Tile), int64(r.spectator.Welcome.Height*gameclient.Tile)
	for {
		t, body, err := r.spectator.Reader.Next()
		if ended(err) {
			r.blind(d, cmp.Or(said, err))
			return
		}
		if err != nil {
			r.baffled(d, err)
			return
		}
		if t == gameclient.Error {
			if refusal, err := gameclient.ParseError(body); err == nil {
				said = refusal
			}
		}
		if t != gameclient.Snapshot {
			continue
		}
		h, err := gameclient.ParseSnapshot(body)
		if err == nil && h.Base == 0 && time.Since(seen) < viewsEvery-5*time.Millisecond {
			continue // the page is not shown every tick
		}
		seen = time.Now()
		if _, err = view.Apply(body); err == nil {
			_, err = r.spectator.Conn.Write(gameclient.AppendAck(nil, h.Tick))
		}
		if ended(err) { // the acknowledgement cannot be written, and reading says why
			continue
		}
		if err != nil {
			r.baffled(d, err)
			return
		}
		now := where{tick: h.Tick, players: make([]byte, 0, 8*len(view.Players))}
		for _, p := range view.Players {
			now.players = appendPlayer(now.players, p.ID, uint16(int64(p.X)*65535/width), uint16(int64(p.Y)*65535/height))
		}
		select {
		case <-r.where: // the latest wins
		default:
		}
		r.where <- now
	}
}

// ended says whether err is the end of a connection.
func ended(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network)
}

// baffled says that the spectator does not understand the server.
func (r *run) baffled(d *director, err error) {
	d.tell(r, func() {
		d.plot.broken = err
		d.warn("the spectator cannot make sense of what the server sends: %v. The page's picture stands still until you restart the server there", err)
	})
}

// blind says that the spectator's connection has ended, and the server has not.
func (r *run) blind(d *director, err error) {
	select {
	case <-r.server.Done(): // which says more, and is noticed elsewhere
		return
	case <-d.over:
		return
	case <-time.After(2 * time.Second):
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("it was closed without a word")
	}
	d.tell(r, func() {
		d.plot.blind = err
		d.warn("the spectator's connection has ended: %v. The page's picture stands still until you restart the server there", err)
	})
}

// heard takes a report of the bots.
func (d *director) heard(b botReport) {
	if b.Answer != "" && len(d.pending) > 0 {
		d.pending[0](b.Answer)
		d.pending = d.pending[1:]
	}
	frozen := d.bots.Frozen
	d.bots = b
	d.plot.froze(time.Now(), frozen, b.Frozen, d.last)
}

// measured takes a line of the server's statistics. Rates are those of the last second.
func (d *director) measured(s gameserver.Stats) {
	d.plot.measured(time.Now(), d.last, s)
	d.last = s
	d.second = append(d.second, s)
	for s.Seconds-d.second[0].Seconds > 1.05 && len(d.second) > 2 {
		d.second = d.second[1:]
	}
	from := d.second[0]
	seconds := s.Seconds - from.Seconds
	if seconds <= 0 {
		return // a rate needs two
	}
	d.sample++
	d.stats = Stats{
		Tick: s.Busy.P50 / 1000, TickP99: s.Busy.P99 / 1000, Late: s.Late.P99 / 1000, Latest: s.Late.Max / 1000,
		Rate:     float64(s.Ticks-from.Ticks) / seconds,
		BytesOut: float64(s.Server.BytesOut-from.Server.BytesOut) / seconds,
		Calls:    float64(s.SysCalls-from.SysCalls) / seconds,
		CPU:      d.cpu(),
		Behind:   float64(s.Game.Replaced-from.Game.Replaced) / max(1, float64(s.Ticks-from.Ticks)),
		Inputs:   float64(s.Game.InputsQueued),
		Overruns: s.Overruns, Dropped: s.Dropped, Replaced: s.Game.Replaced, Kicked: s.Game.Slow,
	}
}

// usage is how much processor time the server had used at a time.
type usage struct {
	at   time.Time
	used time.Duration
}

// cpu is how much of a processor the server has used in the last second, in percent;
// -1 if that cannot be seen here.
func (d *director) cpu() float64 {
	used, err := probe.ProcessCPU(d.run.server.PID())
	if err != nil {
		return -1
	}
	now := usage{time.Now(), used}
	d.used = append(d.used, now)
	for now.at.Sub(d.used[0].at) > 1050*time.Millisecond && len(d.used) > 2 {
		d.used = d.used[1:]
	}
	from := d.used[0]
	if now.at == from.at {
		return -1
	}
	return 100 * float64(now.used-from.used) / float64(now.at.Sub(from.at))
}

// show publishes a view.
func (d *director) show() {
	now := time.Now()
	v := View{
		Run: d.runs, Engine: d.engine, How: d.last.How, Timer: d.last.Timer, Engines: d.engines,
		MaxBots: maxBots(), Wanted: d.wanted, Budget: 1000.0 / 60,
		Frozen: d.bots.Frozen, Sample: d.sample, Stats: d.stats, Players: d.last.Game.Players,
	}
	if d.last.Rate > 0 {
		v.Budget = 1000 / float64(d.last.Rate)
	}
	if known := d.bots.Known; len(known) > 0 {
		v.Client = known[min(len(known)-1, 16)]
	}
	if d.run != nil {
		select {
		case w := <-d.run.where:
			v.Where = w.players
			d.plot.tick = w.tick
		default: // nothing new
		}
	}
	v.Tick = uint64(d.plot.tick)
	v.Topic, v.Mood, v.Say = d.plot.narrate(now, d.scene())
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // numbers and strings
	}
	d.publish(text)
}

func (d *director) scene() scene {
	return scene{engine: d.engine, running: d.run != nil, failed: d.failed, bots: d.bots, stats: d.stats, last: d.last}
}

// do carries out a control, and answers: at once, or when the bots have.
func (d *director) do(ctx context.Context, r request) {
	said, err := d.carryOut(ctx, r)
	if said != "" || err != nil {
		r.answer <- answer{said, err}
	}
}

func (d *director) carryOut(ctx context.Context, r request) (said string, err error) {
	number := func(name string, least, most int) (int, error) {
		n, err := strconv.Atoi(strings.TrimSpace(r.form.Get(name)))
		if err != nil || n < least || n > most {
			return 0, askf("%q: this wants a number from %d to %d", r.form.Get(name), least, most)
		}
		return n, nil
	}
	if d.run == nil && r.control != "engine" && r.control != "reset" {
		return "", askf("there is no server at the moment: choose an engine and restart it")
	}
	switch r.control {
	case "bots":
		n, err := number("n", 0, maxBots())
		if err != nil {
			return "", err
		}
		d.wanted = n
		if n > d.run.room-guests {
			d.restart(ctx)
			return fmt.Sprintf("The server restarts, with room for %s.", count(roomFor(n), "player", "players")), nil
		}
		if d.run.crew == nil {
			if d.run.crew, err = d.startCrew(d.run); err != nil {
				return "", err
			}
			d.plot.botless = ""
		}
		return "", d.command(r, count(n, "bot is", "bots are")+" asked for.", "bots %d", n)
	case "engine":
		name, err := gameserver.Engine(r.form.Get("name"), d.options.Solution)
		if err != nil {
			return "", askf("%v", err)
		}
		d.engine = name
		d.restart(ctx)
		return fmt.Sprintf("The server restarts on %s; everybody joins anew.", name), nil
	case "freeze":
		if r.form.Get("all") != "" {
			return "", d.command(r, "All bots stop reading.", "freeze all")
		}
		n, err := number("client", 1, 1<<31-1)
		if err != nil {
			return "", err
		}
		return "", d.command(r, fmt.Sprintf("Client %d stops reading.", n), "freeze %d", n)
	case "thaw":
		return "", d.command(r, "All read again; those that were dropped join again.", "thaw")
	case "stall":
		ms, err := number("ms", 1, 10_000)
		if err != nil {
			return "", err
		}
		stall := time.Duration(ms) * time.Millisecond
		d.plot.stalled(time.Now(), stall, d.last)
		return fmt.Sprintf("The loop is held up for %v.", stall), d.run.server.Stall(stall)
	case "reset":
		d.engine, d.wanted = d.options.Engine, d.options.Bots
		d.restart(ctx)
		return fmt.Sprintf("All is as it was at the start: %s, %s.", d.engine, count(d.wanted, "bot", "bots")), nil
	}
	return "", askf("there is no control %q", r.control)
}

// command sends the bots a command, and r's answer when they have done it.
func (d *director) command(r request, said, format string, args ...any) error {
	gone := askf("the bots’ process has ended: set the number of bots, and it starts anew")
	if d.run.crew == nil {
		return gone
	}
	if _, err := fmt.Fprintf(d.run.crew.commands, format+"\n", args...); err != nil {
		return gone // and will be missed in a moment
	}
	d.pending = append(d.pending, func(got string) {
		switch got {
		case "ended":
			r.answer <- answer{err: gone}
		case "restart":
			r.answer <- answer{err: askf("the server has ended before the bots had done it: try again when they are back")}
		case "none":
			r.answer <- answer{err: askf("no bot has this player: %s", some(d.bots.Known))}
		default:
			r.answer <- answer{said: said}
		}
	})
	return nil
}

// restart ends the present run and starts another, with the engine and the bots that
// are wanted now. A start that still goes on is given up.
func (d *director) restart(ctx context.Context) {
	d.giveUp()
	ctx, d.giveUp = context.WithCancel(ctx)
	d.retire()
	d.forget()
	d.failed = nil
	d.runs++
	number, listen, engine, room := d.runs, d.listen, d.engine, roomFor(d.wanted)
	d.chain(func() {
		if ctx.Err() != nil {
			return
		}
		r, err := d.startRun(ctx, number, listen, engine, room)
		taken := make(chan bool, 1)
		select {
		case d.started <- started{number, r, err, taken}:
			if <-taken {
				return
			}
		case <-ctx.Done():
		}
		if r != nil {
			r.stop()
		}
	})
}

// guests are the places that are kept for people.
const guests = 100

// roomFor is for how many players the server has room when there are to be so many bots.
// Every tick looks at every place, taken or not: too many would be seen in its time.
func roomFor(bots int) int { return max(2*bots, 2000-guests) + guests }

// maxBots is how many the descriptors and the ports of one address are enough for.
func maxBots() int { return int(min(gameserver.FileLimit()-min(gameserver.FileLimit(), 200), 20_000)) }
