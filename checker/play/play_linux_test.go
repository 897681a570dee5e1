package play

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"iolab/checker/catalogue"
	"iolab/checker/gameclient"
	"iolab/checker/gameserver"
)

// What the tests wait for takes milliseconds on a quiet machine.
const (
	waitFor = time.Minute
	poll    = 20 * time.Millisecond
)

// The test's binary is the program, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-play" {
		os.Exit(Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// serve starts the solution's server for the test, and returns its address.
func serve(t *testing.T, flags ...string) *gameserver.Server {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	program, err := gameserver.Build(t.Context(), root, t.TempDir(), true)
	require.NoError(t, err)
	s, err := gameserver.Start(t.Context(), program, "127.0.0.1:0", "epoll-et", flags...)
	require.NoError(t, err)
	t.Cleanup(s.Stop)
	return s
}

// seat is somebody at a terminal.
type seat struct {
	t      *testing.T
	cmd    *exec.Cmd
	pty    *os.File
	tty    *os.File
	before unix.Termios

	mu   sync.Mutex
	text strings.Builder
	gone chan struct{}
}

// sit starts the program at a terminal of 80 columns and 24 rows.
func sit(t *testing.T, env []string, args ...string) *seat {
	t.Helper()
	master, tty, err := pty.Open()
	require.NoError(t, err)
	require.NoError(t, pty.Setsize(master, &pty.Winsize{Rows: 24, Cols: 80}))
	self, err := os.Executable()
	require.NoError(t, err)
	s := &seat{t: t, pty: master, tty: tty, gone: make(chan struct{})}
	s.before = *s.termios()
	s.cmd = exec.Command(self, append([]string{"-play"}, args...)...)
	s.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color"), env...)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, s.cmd.Start())
	go func() {
		part := make([]byte, 64<<10)
		for {
			n, err := master.Read(part)
			s.mu.Lock()
			s.text.Write(part[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	go func() {
		s.cmd.Wait()
		close(s.gone)
	}()
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		<-s.gone
		tty.Close()
		master.Close()
	})
	return s
}

func (s *seat) termios() *unix.Termios {
	t, err := unix.IoctlGetTermios(int(s.tty.Fd()), unix.TCGETS)
	require.NoError(s.t, err)
	return t
}

func (s *seat) press(keys string) {
	s.t.Helper()
	_, err := io.WriteString(s.pty, keys)
	require.NoError(s.t, err)
}

func (s *seat) all() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// tail is the end of it, for a message.
func (s *seat) tail() string { return s.all()[max(0, len(s.all())-2000):] }

var escapes = regexp.MustCompile("\x1b\\[[?0-9;]*[A-Za-z]")

// screen is the last whole picture, without colours.
func (s *seat) screen() []string {
	pictures := strings.Split(s.all(), home)
	if len(pictures) < 3 {
		return nil
	}
	return strings.Split(escapes.ReplaceAllString(pictures[len(pictures)-2], ""), "\r\n")
}

// shows waits until the screen has text that matches.
func (s *seat) shows(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	for begin := time.Now(); ; time.Sleep(poll) {
		if m := re.FindStringSubmatch(strings.Join(s.screen(), "\n")); m != nil {
			return m
		}
		if time.Since(begin) > waitFor {
			s.t.Fatalf("the screen should show %s, but is:\n%s\nand last came:\n%q", pattern, strings.Join(s.screen(), "\n"), s.tail())
		}
	}
}

// says waits until something that matches was written.
func (s *seat) says(pattern string) []string {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	for begin := time.Now(); ; time.Sleep(poll) {
		if m := re.FindStringSubmatch(s.all()); m != nil {
			return m
		}
		if time.Since(begin) > waitFor {
			s.t.Fatalf("%s should be written, but last came:\n%q", pattern, s.tail())
		}
	}
}

// ends waits for the end, and wants the terminal as it was.
func (s *seat) ends(status int) {
	s.t.Helper()
	select {
	case <-s.gone:
	case <-time.After(waitFor):
		s.t.Fatalf("the program does not end; last it wrote:\n%q", s.tail())
	}
	assert.Equal(s.t, status, s.cmd.ProcessState.ExitCode(), s.tail())
	assert.Equal(s.t, s.before, *s.termios(), "the terminal's settings")
	assert.Eventually(s.t, func() bool { return strings.Contains(s.all(), leaveScreen) }, waitFor, poll, "the other screen is left")
	assert.Equal(s.t, strings.Count(s.all(), enterScreen), strings.Count(s.all(), leaveScreen))
}

func TestTwoPeopleOnOneMachine(t *testing.T) {
	a := sit(t, nil, "-solution")
	addr := a.shows(`play -addr (127\.0\.0\.1:\d+)`)[1]
	b := sit(t, nil, "-addr", addr)
	b.shows(`you are player 2 at`)
	a.shows(`you are player 1 at [^\n]* 1 others`)
	b.press("q")
	b.ends(0)
	a.shows(` 0 others`)
	a.press("q")
	a.ends(0)
}

func TestKeysMove(t *testing.T) {
	s := serve(t)
	a := sit(t, nil, "-addr", s.Addr)
	at := func(m []string) (x, y float64) {
		x, _ = strconv.ParseFloat(m[1], 64)
		y, _ = strconv.ParseFloat(m[2], 64)
		return x, y
	}
	const where = `at ([\d.]+), ([\d.]+) `
	x0, y0 := at(a.shows(where))
	// One of two opposite ways is free, at least.
	moved := func(keys ...string) {
		t.Helper()
		for begin := time.Now(); ; time.Sleep(poll) {
			for _, k := range keys {
				a.press(k)
			}
			x, y := at(a.shows(where))
			if x != x0 || y != y0 {
				x0, y0 = x, y
				return
			}
			require.Less(t, time.Since(begin), waitFor, "%q does not move the player", keys)
		}
	}
	moved("d")
	moved("\x1b[D")
	moved("s", "w")
	moved("\x1bOA", "\x1b[1;5B")
	a.shows(`ping \d+\.\d ms`)
	a.press("q")
	a.ends(0)
}

func TestEveryWayOutPutsTheTerminalRight(t *testing.T) {
	s := serve(t)
	for _, c := range []struct {
		name   string
		do     func(*seat)
		status int
	}{
		{"q", func(a *seat) { a.press("q") }, 0},
		{"Ctrl-D", func(a *seat) { a.press("\x04") }, 0},
		{"Ctrl-C", func(a *seat) { a.press("\x03") }, 130},
		{"SIGINT", func(a *seat) { a.cmd.Process.Signal(syscall.SIGINT) }, 130},
		{"SIGTERM", func(a *seat) { a.cmd.Process.Signal(syscall.SIGTERM) }, 130},
		{"two SIGTERMs", func(a *seat) {
			a.cmd.Process.Signal(syscall.SIGTERM)
			a.cmd.Process.Signal(syscall.SIGTERM)
		}, 130},
		{"SIGHUP", func(a *seat) { a.cmd.Process.Signal(syscall.SIGHUP) }, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := sit(t, nil, "-addr", s.Addr)
			a.shows("ping")
			c.do(a)
			a.ends(c.status)
		})
	}
	t.Run("-for", func(t *testing.T) {
		a := sit(t, nil, "-addr", s.Addr, "-for", "300ms")
		a.ends(0)
	})
	t.Run("the server's death", func(t *testing.T) {
		s := serve(t)
		a := sit(t, nil, "-addr", s.Addr)
		a.shows("ping")
		require.NoError(t, syscall.Kill(s.PID(), syscall.SIGSTOP))
		a.shows(`the server has said nothing for \d+ s`)
		require.NoError(t, syscall.Kill(s.PID(), syscall.SIGKILL))
		a.ends(3)
		a.says(`play: the connection to .* is lost: `)
	})
	t.Run("the server's end", func(t *testing.T) {
		a := sit(t, nil, "-addr", s.Addr)
		a.shows("ping")
		s.Stop()
		a.ends(3)
		a.says(`play: (the server on .* says: |the connection to .* is lost: )`)
	})
}

// late is a server that hands each client on to addr after a while.
func late(t *testing.T, addr string, after time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				time.Sleep(after)
				far, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer far.Close()
				go io.Copy(far, near)
				io.Copy(near, far)
			}()
		}
	}()
	return l.Addr().String()
}

func TestTheTimeBeginsWithTheGame(t *testing.T) {
	const joining, playing = 300 * time.Millisecond, 1200 * time.Millisecond
	s := serve(t)
	for _, env := range [][]string{nil, {"TERM=dumb"}} {
		begin := time.Now()
		a := sit(t, env, "-addr", late(t, s.Addr, joining), "-for", playing.String())
		<-a.gone
		assert.Equal(t, 0, a.cmd.ProcessState.ExitCode(), a.tail())
		assert.GreaterOrEqual(t, time.Since(begin), joining+playing)
	}
}

func TestCtrlCWhileJoining(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // and never a word from it
	require.NoError(t, err)
	defer l.Close()
	for name, do := range map[string]func(*seat){
		"Ctrl-C":  func(a *seat) { a.press("\x03") },
		"SIGTERM": func(a *seat) { a.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		a := sit(t, nil, "-addr", l.Addr().String())
		conn, err := l.Accept()
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.ReadFull(conn, make([]byte, len(gameclient.AppendJoin(nil, 0, gameclient.Token{}))))
		require.NoError(t, err)
		begin := time.Now()
		do(a)
		<-a.gone
		assert.Equal(t, 130, a.cmd.ProcessState.ExitCode(), name)
		assert.Equal(t, a.before, *a.termios(), name)
		assert.NotContains(t, a.all(), "play:", name)
		assert.Less(t, time.Since(begin), 9*time.Second, "%s: before the ten seconds that a server has to answer", name)
	}
}

func TestAPanicPutsTheTerminalRight(t *testing.T) {
	master, tty, err := pty.Open()
	require.NoError(t, err)
	defer master.Close()
	defer tty.Close()
	go io.Copy(io.Discard, master)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	g := &game{options: Options{In: tty, Out: tty}} // without a client
	assert.Panics(t, func() { g.screen(t.Context()) })
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestTheScreenFollowsTheWindow(t *testing.T) {
	s := serve(t)
	a := sit(t, nil, "-addr", s.Addr, "-ascii")
	a.shows("ping")
	for _, size := range [][2]uint16{{40, 10}, {100, 30}, {12, 3}, {1, 1}, {80, 24}} {
		require.NoError(t, pty.Setsize(a.pty, &pty.Winsize{Cols: size[0], Rows: size[1]}))
		assert.Eventually(t, func() bool {
			lines := a.screen()
			if len(lines) != int(size[1]) {
				return false
			}
			for _, l := range lines {
				if len(l) > int(size[0]) {
					return false
				}
			}
			return true
		}, waitFor, poll, "%d by %d", size[0], size[1])
	}
	a.press("q")
	a.ends(0)
}

func TestColoursOnlyWhereTheyAreWanted(t *testing.T) {
	s := serve(t)
	a := sit(t, nil, "-addr", s.Addr)
	a.shows("ping")
	a.press("q")
	a.ends(0)
	assert.True(t, strings.Contains(a.all(), colorFaint))
	b := sit(t, nil, "-addr", s.Addr, "-no-color", "-ascii")
	b.shows("ping")
	b.press("q")
	b.ends(0)
	assert.False(t, strings.Contains(b.all(), "\x1b[38") || strings.Contains(b.all(), "\x1b[1"))
	for _, r := range b.all() {
		require.Less(t, r, rune(128))
	}
}

func TestADumbTerminalGetsLines(t *testing.T) {
	s := serve(t)
	a := sit(t, []string{"TERM=dumb"}, "-addr", s.Addr)
	a.says(`this terminal cannot be drawn on \(TERM=dumb\), so one command a line`)
	a.says(`You are player \d+, at`)
	a.press("q\n")
	<-a.gone
	assert.Equal(t, 0, a.cmd.ProcessState.ExitCode())
	assert.False(t, strings.Contains(a.all(), "\x1b["), a.tail())
}

// talk runs the program without a terminal.
func talk(t *testing.T, input string, args ...string) (output, errors string, status int) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, append([]string{"-play"}, args...)...)
	var out, errs strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestLines(t *testing.T) {
	s := serve(t)
	other, err := gameclient.Dial(s.Addr, gameclient.Options{})
	require.NoError(t, err)
	defer other.Conn.Close()
	go func() { // it reads and acknowledges
		for {
			if _, _, err := other.Next(); err != nil {
				return
			}
		}
	}()
	out, errs, status := talk(t, "look\nwho\nd 2\na 2\nw\ns\nping\nfly\nd x\nd -1\nhelp\n\nq\nafter\n", "-addr", s.Addr)
	assert.Equal(t, 0, status, errs)
	assert.Contains(t, errs, "the keyboard is not a terminal, so one command a line")
	assert.Contains(t, out, "You are player 2, at ")
	assert.Contains(t, out, "@")
	assert.Contains(t, out, "#")
	assert.Contains(t, out, "Player 1 is ")
	assert.Regexp(t, `\d+\.\d ms, tick \d+`, out)
	assert.Contains(t, out, `there is no command "fly"`)
	assert.Contains(t, out, `"x" is not a number of tiles`)
	assert.NotContains(t, out, "after")
	places := regexp.MustCompile(`at ([\d.]+), ([\d.]+), at tick`).FindAllString(out, -1)
	require.Len(t, places, 5)
	assert.True(t, places[0] != places[1] || places[1] != places[2], "two tiles to the right or to the left are possible: %v", places)

	_, _, status = talk(t, "", "-addr", s.Addr) // the end of the input is like q
	assert.Equal(t, 0, status)
}

// The server's queue holds 16 inputs: what comes at once after a stall must not be more.
func TestAWalkWaitsForAServerThatIsHeldUp(t *testing.T) {
	s := serve(t)
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "-play", "-addr", s.Addr)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var errs strings.Builder
	cmd.Stderr = &errs
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	io.WriteString(in, "who\n")
	require.True(t, lines.Scan(), "it has joined")
	require.NoError(t, s.Stall(time.Second))
	io.WriteString(in, "d 4\na 4\nq\n") // 42 steps each, 0.7 s
	text, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, cmd.Wait(), errs.String())
	assert.Equal(t, 2, strings.Count(string(text), "You are player"), string(text))
}

func TestNoServerThere(t *testing.T) {
	_, errs, status := talk(t, "q\n", "-addr", "127.0.0.1:1")
	assert.Equal(t, 3, status)
	assert.Regexp(t, `joining the game on 127\.0\.0\.1:1: .*refused\. Is it a game server's address\? Without -addr a server is started`, errs)
	_, errs, status = talk(t, "q\n", "-addr", "localhost")
	assert.Equal(t, 2, status)
	assert.Contains(t, errs, `-addr wants a host and a port, as in 127.0.0.1:7000, and not "localhost"`)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer other.Close()
	go func() {
		if conn, err := other.Accept(); err == nil {
			io.WriteString(conn, "SSH-2.0-other\r\n")
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	}()
	_, errs, status = talk(t, "q\n", "-addr", other.Addr().String())
	assert.Equal(t, 3, status)
	assert.Contains(t, errs, "what listens there does not speak the game's protocol")
	_, errs, status = talk(t, "q\n", "-solution", "-engine", "epol-lt")
	assert.Equal(t, 2, status)
	assert.Contains(t, errs, "did you mean solutions/epoll-lt?")
}

// view is a game with these players, the first of whom is this one.
func view(players ...gameclient.Player) *game {
	g := &game{addr: "127.0.0.1:7000", ping: 1500 * time.Microsecond, heard: time.Now(), client: &gameclient.Client{}}
	g.client.Welcome = gameclient.WelcomeBody{ID: players[0].ID, Width: 32, Height: 32, Rate: 60}
	g.walls = make([][]bool, 32)
	for y := range g.walls {
		g.walls[y] = make([]bool, 32)
		g.walls[y][0] = true
	}
	g.view.Players = map[uint32]gameclient.Player{}
	for _, p := range players {
		g.view.Players[p.ID] = p
	}
	g.view.Tick = 42
	return g
}

func TestTheWorldAroundThePlayer(t *testing.T) {
	const tile = gameclient.Tile
	g := view(
		gameclient.Player{ID: 1, X: 3*tile + tile/2, Y: 10*tile + tile/2},
		gameclient.Player{ID: 2, X: 6*tile + tile/2, Y: 9*tile + tile/2},
		gameclient.Player{ID: 3, X: 30*tile + tile/2, Y: 9*tile + tile/2},
	)
	g.options.ASCII, g.options.Plain = true, true
	lines := strings.Split(escapes.ReplaceAllString(string(g.render(20, 7)), ""), "\r\n")
	assert.Equal(t, []string{
		"   ##               ",
		"   ##           o   ",
		"   ##     @         ",
		"   ##               ",
		"   ##               ",
	}, lines[:5])
	assert.Equal(t, "you are player 1 at", lines[5])
	assert.Equal(t, "arrows or WASD move", lines[6])
	for w := range 30 {
		for h := range 12 {
			assert.NotPanics(t, func() { g.render(w+1, h+1) }, "%d by %d", w+1, h+1)
		}
	}
	assert.Equal(t, []other{{2, 3, -1}, {3, 27, -1}}, g.others())

	g.options.ASCII = false // and still without colours
	text := string(g.render(20, 7))
	assert.Equal(t, 1, strings.Count(text, unicodeGlyphs.me), "the player is told from the others by more than colour")
	assert.Equal(t, 1, strings.Count(text, unicodeGlyphs.other))

	g.heard = time.Now().Add(-7 * time.Second)
	assert.Contains(t, string(g.render(80, 7)), "the server has said nothing for 7 s  ·  2 others")
}

func TestKeysOfManyTerminals(t *testing.T) {
	for text, want := range map[string][]key{
		"wasd":                  {keyUp, keyLeft, keyDown, keyRight},
		"WASD":                  {keyUp, keyLeft, keyDown, keyRight},
		"\x1b[A\x1b[B":          {keyUp, keyDown},
		"\x1bOC\x1bOD":          {keyRight, keyLeft},
		"\x1b[1;2A\x1b[3~\x1bw": {keyUp, keyUp},
		" q\x03\x04":            {keyStop, keyQuit, keyInterrupt, keyQuit},
		"xyz\x00\xff\x1b[\x1b[": nil,
	} {
		keys := make(chan key, 100)
		readKeys(strings.NewReader(text), keys)
		close(keys)
		var got []key
		for k := range keys {
			got = append(got, k)
		}
		require.NotEmpty(t, got)
		assert.Equal(t, keyQuit, got[len(got)-1], "the end of the input is like q")
		assert.Equal(t, want, append([]key(nil), got[:len(got)-1]...), fmt.Sprintf("%q", text))
	}
}
