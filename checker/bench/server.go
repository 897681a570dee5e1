package bench

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"iolab/checker/wine"
)

// Counters are what a server of the lab has counted until it is asked (-control), or until
// it is told to end (-json-stats), the end of its connections not included. See
// [iolab/lessons/engine.Stats].
type Counters struct {
	Accepts, BytesIn, BytesOut, Wakeups, EAGAINs, ShortWrites uint64

	Calls map[string]uint64 // system calls by name
}

// since is what was counted from from to c: bytes that came in, and calls.
func (c *Counters) since(from *Counters) *Counters {
	d := &Counters{BytesIn: c.BytesIn - from.BytesIn, Calls: map[string]uint64{}}
	for name, n := range c.Calls {
		if n > from.Calls[name] {
			d.Calls[name] = n - from.Calls[name]
		}
	}
	return d
}

// server is a subject at work.
type server struct {
	cmd    *exec.Cmd
	addr   netip.AddrPort
	found  chan string    // where it listens
	ending chan struct{}  // gets one when it says that it ends
	gone   chan struct{}  // closed when the process has ended and waited for
	err    error          // how it ended
	group  bool           // it leads a process group, which is killed with it
	input  io.WriteCloser // for commands, nil if it takes none
	counts chan Counters  // what it prints

	session *wine.Session // that it runs in, nil without Wine

	mu   sync.Mutex
	last *Counters // that it printed
	tail []string  // the last lines of its log
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// startServer starts program as subject s on the given processors, through a command
// before it if there is one (strace).
func startServer(s Subject, program string, on []int, before ...string) (*server, error) {
	if s.Runs == underWine {
		return startWine(s, program, on)
	}
	args := []string{"-addr", "127.0.0.1:0"}
	if s.Lesson > 0 {
		args = append(args, "-stats", "0", "-json-stats", "1h", "-control")
	}
	words := append(append(append(before, program), args...), s.args...)
	v := newServer(exec.Command(words[0], words[1:]...))
	v.group = len(before) > 0
	if err := v.start(on, s.Lesson > 0); err != nil {
		return nil, err
	}
	return v, nil
}

func newServer(cmd *exec.Cmd) *server {
	return &server{cmd: cmd, found: make(chan string, 1), ending: make(chan struct{}, 1), gone: make(chan struct{}), counts: make(chan Counters, 4)}
}

// start starts the server and waits until it says where it listens. One that takes commands
// ends when this process is gone, since its input does.
func (v *server) start(on []int, commands bool) error {
	log, w, err := os.Pipe()
	if err != nil {
		return err
	}
	out, printed, err := os.Pipe()
	if err != nil {
		log.Close()
		w.Close()
		return err
	}
	v.cmd.Stderr, v.cmd.Stdout = w, printed
	if commands {
		v.input, err = v.cmd.StdinPipe()
	}
	if err == nil {
		err = startOn(v.cmd, on, v.group)
	}
	w.Close()
	printed.Close()
	if err != nil {
		log.Close()
		out.Close()
		return fmt.Errorf("it does not start: %w", err)
	}
	var said sync.WaitGroup
	said.Go(func() { v.watch(log) })
	said.Go(func() { v.hear(out) })
	go func() {
		v.err = v.cmd.Wait()
		all := make(chan struct{})
		go func() { said.Wait(); close(all) }()
		select { // a server that is gone has said all, unless a child of it lives on
		case <-all:
		case <-time.After(2 * time.Second):
		}
		log.Close()
		out.Close()
		<-all
		close(v.gone)
	}()
	return v.await()
}

// eachLine calls f with each line of in, of long ones with the beginning, until its end.
func eachLine(in io.Reader, f func(line string)) {
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			f(strings.TrimRight(string(line), "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = lines.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// watch reads the server's log.
func (v *server) watch(log io.Reader) {
	eachLine(log, func(line string) {
		if m := listening.FindStringSubmatch(line); m != nil {
			select {
			case v.found <- m[1]:
			default:
			}
		}
		if strings.Contains(line, `msg="shutting down"`) {
			select {
			case v.ending <- struct{}{}:
			default: // it has said so before
			}
		}
		v.mu.Lock()
		v.tail = append(v.tail, line)
		v.tail = v.tail[max(0, len(v.tail)-5):]
		v.mu.Unlock()
	})
}

// hear reads what the server prints: counters, and whatever the reader's code does.
func (v *server) hear(out io.Reader) {
	eachLine(out, func(line string) {
		var c Counters
		if json.Unmarshal([]byte(line), &c) != nil || c.Calls == nil {
			return
		}
		v.mu.Lock()
		v.last = &c
		v.mu.Unlock()
		select {
		case v.counts <- c:
		default: // nobody asked
		}
	})
}

// ask asks the server for its counters of now; nil if it has none, or does not tell within
// five seconds.
func (v *server) ask() *Counters {
	if v.input == nil {
		return nil
	}
	for len(v.counts) > 0 {
		<-v.counts // of a time when nobody waited for it
	}
	if _, err := io.WriteString(v.input, "counters\n"); err != nil {
		return nil
	}
	select {
	case c := <-v.counts:
		return &c
	case <-v.gone:
	case <-time.After(5 * time.Second):
	}
	return nil
}

// startWithin is how long a server may take to say where it listens.
var startWithin = 30 * time.Second // a test has less time

// await waits until the server says where it listens.
func (v *server) await() (err error) {
	select {
	case addr := <-v.found:
		if v.addr, err = netip.ParseAddrPort(addr); err != nil {
			v.kill()
			return fmt.Errorf("it says that it listens on %q", addr)
		}
		return nil
	case <-v.gone:
		return fmt.Errorf("it does not start: %s", v.lastWords())
	case <-time.After(startWithin):
		v.kill()
		return fmt.Errorf("it has not said within %v where it listens: %s", startWithin, v.lastWords())
	}
}

var notWritten = regexp.MustCompile(`step \d\d\.\d is not written yet: [^"]*`)

// lastWords is what the server's log says of its end.
func (v *server) lastWords() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := strings.Join(v.tail, "\n")
	switch m := notWritten.FindString(text); {
	case m != "":
		return m
	case text == "":
		return "it says nothing"
	}
	return text
}

// pid is the process to look at.
func (v *server) pid() int { return v.cmd.Process.Pid }

// interrupt asks the server to end, and waits until it has heard it, if it says so.
func (v *server) interrupt() {
	if v.session != nil {
		return // it is a Windows program
	}
	switch {
	case v.group: // the server is a child of this process
		v.quit()
	case v.cmd.Process.Signal(os.Interrupt) == nil:
	case v.input != nil: // Windows has no such signal for others
		v.quit()
	default:
		v.cmd.Process.Kill()
	}
	select {
	case <-v.ending:
	case <-v.gone:
	case <-time.After(5 * time.Second):
	}
}

// quit is the command to end.
func (v *server) quit() {
	if v.input != nil {
		io.WriteString(v.input, "quit\n") // one that is gone need not hear it
	}
}

// stop ends the server in order and returns its last counters, nil if it has none.
func (v *server) stop() (*Counters, error) {
	if v.session != nil {
		v.kill()
		return nil, nil
	}
	v.interrupt()
	select {
	case <-v.gone:
	case <-time.After(10 * time.Second):
		v.kill()
		return nil, errors.New("it does not end within 10 s when it is asked to")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.last, nil
}

// kill ends the server at once, and all of its group if it leads one.
func (v *server) kill() {
	if v.group {
		killGroup(v.cmd.Process.Pid)
	}
	v.cmd.Process.Kill()
	<-v.gone
	if v.session != nil {
		v.session.Close()
	}
}

// ended says whether the server has ended, and why.
func (v *server) ended() error {
	select {
	case <-v.gone:
		return errors.New("the server has ended: " + v.lastWords())
	default:
		return nil
	}
}
