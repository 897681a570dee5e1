package arena

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

// The test's binary is the bots, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-bots-of" {
		if BotsMain(os.Args[2]) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// paper is what is written to the terminal.
type paper struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// start starts the arena with the solution's server and returns the page's address. The
// arena ends with the test, or when stop is called, and then stop returns its error.
func start(t *testing.T, o Options) (url string, stop func() error) {
	t.Helper()
	o.NoOpen = true
	return startOpen(t, o)
}

// startOpen is start for an arena that may start the browser.
func startOpen(t *testing.T, o Options) (url string, stop func() error) {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	o.Root, err = catalogue.Root(dir)
	require.NoError(t, err)
	self, err := os.Executable()
	require.NoError(t, err)
	r, w := io.Pipe()
	copied := io.Discard
	if o.Out != nil {
		copied = o.Out
	}
	if o.Err == nil {
		o.Err = io.Discard
	}
	o.Solution, o.Out, o.BotsArgs = true, w, []string{self, "-bots-of"}
	ctx, cancel := context.WithCancel(t.Context())
	if o.For > 0 {
		cancel = func() {}
	}
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, o)
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	stop = func() error {
		cancel()
		err := <-ended
		ended <- err
		return err
	}
	t.Cleanup(func() { stop() })
	var text strings.Builder
	part := make([]byte, 4096)
	for {
		n, err := r.Read(part)
		text.Write(part[:n])
		if m := regexp.MustCompile(`http://\S+`).FindString(text.String()); m != "" {
			io.WriteString(copied, text.String())
			go io.Copy(copied, r)
			return m, stop
		}
		if err != nil {
			t.Fatalf("the arena does not start: %v", stop())
		}
	}
}

// watcher reads the views of an arena, as a window does.
type watcher struct {
	t    *testing.T
	url  string
	view chan View
}

func watch(t *testing.T, url string) *watcher {
	t.Helper()
	resp, err := http.Get(url + "events")
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	w := &watcher{t, url, make(chan View)}
	stop := t.Context().Done()
	go func() {
		defer close(w.view)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 4<<20)
		for lines.Scan() {
			var v View
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && json.Unmarshal([]byte(data), &v) == nil {
				select {
				case w.view <- v:
				case <-stop:
					return
				}
			}
		}
	}()
	return w
}

// until returns the first view for which done is true.
func (w *watcher) until(what string, done func(View) bool) View {
	w.t.Helper()
	var last View
	for deadline := time.After(2 * waitFor); ; {
		select {
		case v, ok := <-w.view:
			require.True(w.t, ok, "the arena has ended; the last sentence: %s", last.Say)
			if done(v) {
				return v
			}
			last = v
		case <-deadline:
			w.t.Fatalf("%s should come, but the arena says %q, %+v", what, last.Say, last.Stats)
		}
	}
}

// press uses a control.
func (w *watcher) press(control, form string) string {
	w.t.Helper()
	status, text, _ := ask(w.t, "POST", w.url+control, form)
	require.Equal(w.t, 200, status, text)
	return text
}

// ordinary says whether a view says what it does when there is nothing special: how many
// play, or, on a busy machine, that ticks are late.
func ordinary(players string) func(View) bool {
	return func(v View) bool {
		return v.Topic == "steady" && strings.HasPrefix(v.Say, players) ||
			strings.HasPrefix(players, strconv.Itoa(v.Players)+" ") && (v.Topic == "overruns" || v.Topic == "dropped")
	}
}

func TestTheArenaAtWork(t *testing.T) {
	url, stop := start(t, Options{Bots: 40})
	w := watch(t, url)
	v := w.until("forty bots", func(v View) bool { return v.Players == 40 && len(v.Where) == 40*8 && v.Sample > 0 })
	assert.Equal(t, "native", v.How)
	assert.InDelta(t, 1000.0/60, v.Budget, .01)
	w.until("an ordinary sentence", ordinary("40 players"))

	var m Map
	_, text, _ := ask(t, "GET", url+"map", "")
	require.NoError(t, json.Unmarshal([]byte(text), &m))
	assert.Equal(t, 1, m.Run)
	assert.Len(t, m.Walls, m.Width*m.Height)

	w.press("bots", "n=60")
	w.until("sixty bots", func(v View) bool { return v.Players == 60 && v.Wanted == 60 })
	w.press("bots", "n=50")
	v = w.until("fifty bots", func(v View) bool { return v.Players == 50 })

	// A client that does not read: its snapshots are replaced, then it is dropped.
	status, text, _ := ask(t, "POST", url+"freeze", "client=99999")
	assert.Equal(t, 422, status)
	assert.Contains(t, text, "no bot has this player")
	w.press("freeze", fmt.Sprint("client=", v.Client))
	w.until("a frozen client", func(v View) bool { return len(v.Frozen) == 1 && strings.Contains(v.Say, "has not read for") })
	w.until("replaced snapshots", func(v View) bool { return v.Stats.Replaced > 0 && strings.Contains(v.Say, "replaced") })
	w.until("a dropped client", func(v View) bool { return v.Stats.Kicked >= 1 && strings.Contains(v.Say, "it was dropped") })
	w.press("thaw", "")
	w.until("the client's return", func(v View) bool { return len(v.Frozen) == 0 && v.Players == 50 })

	// All of them.
	w.press("freeze", "all=yes")
	w.until("fifty frozen clients", func(v View) bool { return len(v.Frozen) == 50 && strings.HasPrefix(v.Say, "50 clients") })
	w.press("thaw", "")
	w.until("nobody frozen", func(v View) bool { return len(v.Frozen) == 0 })

	// A loop that is held up: it drops what it cannot make up for.
	before := w.until("a sample", func(v View) bool { return v.Stats.Rate > 0 })
	assert.Contains(t, w.press("stall", "ms=700"), "700ms")
	w.until("dropped ticks", func(v View) bool {
		return v.Stats.Dropped >= before.Stats.Dropped+30 && v.Topic == "stall" && strings.Contains(v.Say, "dropped")
	})

	// Another engine.
	w.press("engine", "name=select")
	v = w.until("another engine", func(v View) bool {
		return v.Run == 2 && v.Engine == "solutions/select" && v.Players == 50 && len(v.Where) > 0
	})
	assert.Less(t, v.Stats.Dropped, uint64(1000), "counters begin anew")
	status, text, _ = ask(t, "POST", url+"engine", "name=selct")
	assert.Equal(t, 422, status)
	assert.Contains(t, text, "did you mean solutions/select?")

	w.press("reset", "")
	w.until("the beginning", func(v View) bool { return v.Run == 3 && v.Engine == "solutions/epoll-et" && v.Players == 40 })

	for form, control := range map[string]string{"n=-1": "bots", "n=x": "bots", "n=1000000": "bots", "ms=0": "stall", "ms=999999": "stall", "": "freeze"} {
		status, text, _ := ask(t, "POST", url+control, form)
		assert.Equal(t, 422, status, form)
		assert.Contains(t, text, "wants a number from", form)
	}
	require.NoError(t, stop())
	assert.Empty(t, children(t), "no process is left")
}

// children are the command lines of this process's children, by their numbers.
func children(t *testing.T) map[int]string {
	found := map[int]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		if len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			found[pid] = strings.ReplaceAll(string(line), "\x00", " ")
		}
	}
	return found
}

// child is the number and the command line of the child that has word in it.
func child(t *testing.T, word string) (pid int, line string) {
	t.Helper()
	for pid, line := range children(t) {
		if strings.Contains(line, word) {
			return pid, strings.TrimSpace(line)
		}
	}
	t.Fatalf("there is no child with %s", word)
	return 0, ""
}

// The children's words.
const (
	theServer = "-json-stats"
	theBots   = "-bots-of"
)

// kill kills a child.
func kill(t *testing.T, word string) {
	t.Helper()
	pid, _ := child(t, word)
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
}

// addr is the server's address, as the bots were told it.
func addr(t *testing.T) string {
	t.Helper()
	_, line := child(t, theBots)
	return line[strings.LastIndex(line, " ")+1:]
}

// A person can join the arena's server, too, and the bots stay the bots.
func TestAPersonCanJoin(t *testing.T) {
	url, _ := start(t, Options{Bots: 3})
	w := watch(t, url)
	w.until("three bots", func(v View) bool { return v.Players == 3 })
	c, err := gameclient.Dial(addr(t), gameclient.Options{})
	require.NoError(t, err)
	defer c.Conn.Close()
	w.until("four players", func(v View) bool { return v.Players == 4 })
	status, _, _ := ask(t, "POST", url+"freeze", fmt.Sprint("client=", c.Welcome.ID))
	assert.Equal(t, 422, status, "only bots can be frozen")
}

func TestAServerThatDiesIsSaid(t *testing.T) {
	var errs paper
	url, _ := start(t, Options{Bots: 2, Err: &errs})
	w := watch(t, url)
	w.until("two bots", func(v View) bool { return v.Players == 2 })
	kill(t, theServer)
	v := w.until("the news", func(v View) bool { return v.Topic == "failed" })
	assert.Contains(t, v.Say, "There is no server until you restart it: the server")
	assert.Equal(t, "bad", v.Mood)
	assert.Contains(t, errs.String(), "there is no server until you restart it in the page: the server was ended by a signal (killed)")
	status, text, _ := ask(t, "POST", url+"stall", "ms=5")
	assert.Equal(t, 422, status)
	assert.Contains(t, text, "restart")
	w.press("reset", "")
	w.until("a new server", func(v View) bool { return v.Run == 2 && v.Players == 2 })
}

func TestBotsThatDieAreSaid(t *testing.T) {
	var errs paper
	url, _ := start(t, Options{Bots: 3, Err: &errs})
	w := watch(t, url)
	w.until("an ordinary sentence", ordinary("3 players"))
	kill(t, theBots)
	v := w.until("the news", func(v View) bool { return v.Topic == "botless" })
	assert.Contains(t, v.Say, "The bots’ process has ended (signal: killed)")
	assert.Equal(t, "bad", v.Mood)
	assert.Contains(t, errs.String(), "the bots' process has ended (signal: killed). To start it anew, set the number of bots")
	for control, form := range map[string]string{"freeze": "all=yes", "thaw": ""} {
		status, text, _ := ask(t, "POST", url+control, form)
		assert.Equal(t, 422, status)
		assert.Contains(t, text, "set the number of bots, and it starts anew")
	}
	w.press("bots", "n=4")
	v = w.until("four bots", ordinary("4 players"))
	assert.Equal(t, 1, v.Run, "the server went on")
	w.press("freeze", "all=yes")
	w.until("frozen ones", func(v View) bool { return len(v.Frozen) == 4 })
}

// stopped says whether all threads of a process are.
func stopped(pid int) bool {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(text[strings.LastIndexByte(string(text), ')')+1:]), " T") {
			return false
		}
	}
	return len(files) > 0
}

// What waits for an answer of the bots does not wait for bots that are gone.
func TestNobodyWaitsForBotsThatAreGone(t *testing.T) {
	url, _ := start(t, Options{Bots: 3})
	w := watch(t, url)
	w.until("three bots", func(v View) bool { return v.Players == 3 })
	for i, c := range []struct {
		end  func()
		says string
	}{
		{func() { w.press("engine", "name=select") }, "the server has ended before the bots had done it"},
		{func() { kill(t, theBots) }, "the bots’ process has ended"},
	} {
		w.until("three bots", func(v View) bool { return v.Run == i+1 && v.Players == 3 })
		pid, _ := child(t, theBots)
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		require.Eventually(t, func() bool { return stopped(pid) }, waitFor, poll) // a read that was woken by the signal may still read
		answered := make(chan string, 1)
		go func() {
			resp, err := http.PostForm(url+"freeze", neturl.Values{"all": {"yes"}})
			if err != nil {
				answered <- err.Error()
				return
			}
			defer resp.Body.Close()
			text, _ := io.ReadAll(resp.Body)
			answered <- fmt.Sprint(resp.StatusCode, " ", string(text))
		}()
		input, err := os.Open(fmt.Sprintf("/proc/%d/fd/0", pid))
		require.NoError(t, err)
		require.Eventually(t, func() bool { // the command lies in the pipe
			n, err := unix.IoctlGetInt(int(input.Fd()), unix.TIOCINQ)
			return err == nil && n > 0
		}, waitFor, poll)
		input.Close()
		c.end()
		assert.Contains(t, <-answered, "422 "+c.says)
	}
}

func TestRestartsInARowKeepTheirOrder(t *testing.T) {
	var out, errs paper
	url, stop := start(t, Options{Bots: 2, Out: &out, Err: &errs})
	w := watch(t, url)
	w.until("two bots", func(v View) bool { return v.Players == 2 })
	at := addr(t)
	run := 1
	for range 3 { // all together; then in the middle of a start
		for _, engine := range []string{"select", "epoll-lt", "select", "epoll-et"} {
			w.press("engine", "name="+engine)
			run++
		}
		// Mostly it is still starting then. That it is cannot be waited for: only the newest
		// view is handed out, and a start may be over before a view is read.
		w.until("the last run", func(v View) bool {
			require.NotEqual(t, "failed", v.Topic, v.Say)
			return v.Run == run
		})
	}
	w.until("two bots on the last of them", func(v View) bool {
		require.NotEqual(t, "failed", v.Topic, v.Say)
		return v.Run == run && v.Engine == "solutions/epoll-et" && v.Players == 2
	})
	assert.Equal(t, at, addr(t), "on the same port")
	assert.Empty(t, errs.String())
	assert.Equal(t, 1, strings.Count(out.String(), "play -addr"))
	w.press("reset", "") // and the end comes into another start
	require.NoError(t, stop())
	assert.Empty(t, children(t))
}

func TestTheServersPortIsWhatTheTerminalSays(t *testing.T) {
	var out, errs paper
	url, _ := start(t, Options{Bots: 2, Out: &out, Err: &errs})
	w := watch(t, url)
	bots := func(run int) func(View) bool {
		return func(v View) bool { return v.Run == run && v.Players == 2 }
	}
	w.until("two bots", bots(1))
	at := addr(t)
	assert.Contains(t, out.String(), "go run ./checker play -addr "+at+"\n")

	// A start that fails costs the port nothing.
	_, line := child(t, theServer)
	program, _, _ := strings.Cut(line, " ")
	require.NoError(t, os.Rename(program, program+".away"))
	w.press("engine", "name=select")
	v := w.until("the failure", func(v View) bool { return v.Topic == "failed" })
	assert.Contains(t, v.Say, "no such file")
	assert.Contains(t, errs.String(), "no such file")
	require.NoError(t, os.Rename(program+".away", program))
	w.press("reset", "")
	w.until("two bots", bots(3))
	assert.Equal(t, at, addr(t))
	assert.Equal(t, 1, strings.Count(out.String(), "play -addr"))

	// Another port is announced.
	kill(t, theServer)
	w.until("the news", func(v View) bool { return v.Topic == "failed" })
	var l net.Listener
	require.Eventually(t, func() (ok bool) { // the last of the bots may still be connected
		var err error
		l, err = net.Listen("tcp", at)
		return err == nil
	}, waitFor, poll)
	defer l.Close()
	w.press("reset", "")
	w.until("two bots", bots(4))
	assert.NotEqual(t, at, addr(t))
	require.Eventually(t, func() bool {
		return strings.Contains(out.String(), "The server has another address now, since somebody else has the one it had. To play along:\n\n    go run ./checker play -addr "+addr(t)+"\n")
	}, waitFor, poll)
}

// proxy hands one connection on to addr, until it is cut.
func proxy(t *testing.T, to string) (addr string, cut func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	cutting := make(chan struct{})
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer far.Close()
		go io.Copy(far, near)
		go io.Copy(near, far)
		select {
		case <-cutting:
		case <-t.Context().Done():
		}
	}()
	return l.Addr().String(), func() { close(cutting) }
}

func TestTheSpectatorsEndIsSaid(t *testing.T) {
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	program, err := gameserver.Build(t.Context(), root, t.TempDir(), true)
	require.NoError(t, err)
	server, err := gameserver.Start(t.Context(), program, anyPort, "epoll-et")
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	var errs paper
	d := &director{options: Options{Err: &errs}, news: make(chan func(), 1), over: make(chan struct{})}
	defer close(d.over)
	addr, cut := proxy(t, server.Addr)
	d.run = &run{server: server, where: make(chan where, 1)}
	d.run.spectator, err = gameclient.Dial(addr, gameclient.Options{Spectator: true})
	require.NoError(t, err)
	go d.run.look(d)
	<-d.run.where // it sees
	cut()
	(<-d.news)()
	assert.Error(t, d.plot.blind)
	assert.NoError(t, d.plot.broken)
	assert.Contains(t, errs.String(), "the spectator's connection has ended: ")
	assert.Contains(t, errs.String(), "until you restart the server there")

	// The server's own end says more.
	server.Stop()
	d.run.blind(d, io.EOF)
	assert.Empty(t, d.news)
}

func TestTheBrowserIsToldNoSecret(t *testing.T) {
	dir := t.TempDir()
	told := filepath.Join(dir, "told")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\necho \"$*\" > '"+told+".part'; mv '"+told+".part' '"+told+"'\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("DISPLAY", ":0")
	url, _ := startOpen(t, Options{Bots: 1})
	var text []byte
	require.Eventually(t, func() bool {
		var err error
		text, err = os.ReadFile(told)
		return err == nil
	}, waitFor, poll)
	token := strings.Split(url, "/")[3]
	assert.NotContains(t, string(text), token)
	status, page, _ := ask(t, "GET", strings.TrimSpace(string(text)), "")
	assert.Equal(t, 200, status)
	assert.Contains(t, page, "<title>iolab arena</title>")
}

func TestWhatCannotStartIsSaid(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		o      Options
		status int
		says   string
	}{
		{Options{Engine: "epol-et"}, 2, "did you mean solutions/epoll-et?"},
		{Options{Engine: "lessons/epol-et"}, 2, "did you mean lessons/epoll-et?"},
		{Options{Bots: 1 << 30}, 2, "there can be 0 to "},
		{Options{Bots: -1}, 2, "there can be 0 to "},
		{Options{Root: dir}, 3, "does not build"},
	} {
		c.o.Solution, c.o.NoOpen, c.o.Out, c.o.Err = true, true, io.Discard, io.Discard
		err := Run(t.Context(), c.o)
		require.Error(t, err)
		assert.ErrorContains(t, err, c.says)
		assert.Equal(t, c.status, gameserver.Status(err))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	err = Run(t.Context(), Options{Solution: true, Port: l.Addr().(*net.TCPAddr).Port})
	assert.ErrorContains(t, err, "another program listens there")
	assert.ErrorContains(t, err, "leave -port out")
}

func TestTheArenaEndsByItself(t *testing.T) {
	begin := time.Now()
	_, stop := start(t, Options{Bots: 1, For: 300 * time.Millisecond})
	require.NoError(t, stop())
	assert.Less(t, time.Since(begin), waitFor)
	assert.Empty(t, children(t))
}
