package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"iolab/checker/wine"
)

// Counters are what a server of the lab prints when it is asked to end (-json-stats): those
// of its engine until then, the end of its connections not included. See
// [iolab/lessons/engine.Stats].
type Counters struct {
	Accepts, BytesIn, BytesOut, Wakeups, EAGAINs, ShortWrites uint64

	Calls map[string]uint64 // system calls by name
}

// server is a subject at work.
type server struct {
	cmd    *exec.Cmd
	addr   netip.AddrPort
	stdout bytes.Buffer
	found  chan string   // where it listens
	ending chan struct{} // closed when it says that it ends
	gone   chan struct{} // closed when the process has ended and waited for
	err    error         // how it ended

	session *wine.Session // that it runs in, nil without Wine

	mu   sync.Mutex
	tail []string // the last lines of its log
}

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// startServer starts program as subject s on the given processors, through a command
// before it if there is one (strace).
func startServer(s Subject, program string, on []int, before ...string) (*server, error) {
	if s.Runs == underWine {
		return startWine(s, program, on)
	}
	var args []string
	if s.Lesson > 0 {
		args = []string{"-addr", "127.0.0.1:0", "-stats", "0", "-json-stats", "1h"}
	} else {
		addr, err := freePort()
		if err != nil {
			return nil, err
		}
		args = []string{"-addr", addr}
	}
	words := append(append(append(before, program), args...), s.args...)
	cmd := exec.Command(words[0], words[1:]...)
	return watchServer(cmd, on)
}

func newServer(cmd *exec.Cmd) *server {
	return &server{cmd: cmd, found: make(chan string, 1), ending: make(chan struct{}), gone: make(chan struct{})}
}

// watchServer starts cmd and waits until it says where it listens.
func watchServer(cmd *exec.Cmd, on []int) (*server, error) {
	v := newServer(cmd)
	cmd.Stdout = &v.stdout
	log, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = w
	err = startOn(cmd, on)
	w.Close()
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("it does not start: %w", err)
	}
	go func() {
		v.watch(log) // a server that is gone has said all
		log.Close()
		v.err = cmd.Wait()
		close(v.gone)
	}()
	return v.await()
}

// watch reads the server's log.
func (v *server) watch(log io.Reader) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			select {
			case v.found <- m[1]:
			default:
			}
		}
		if strings.Contains(lines.Text(), `msg="shutting down"`) {
			close(v.ending)
		}
		v.mu.Lock()
		v.tail = append(v.tail, lines.Text())
		v.tail = v.tail[max(0, len(v.tail)-5):]
		v.mu.Unlock()
	}
}

// await waits until the server says where it listens.
func (v *server) await() (_ *server, err error) {
	select {
	case addr := <-v.found:
		if v.addr, err = netip.ParseAddrPort(addr); err != nil {
			v.kill()
			return nil, fmt.Errorf("it says that it listens on %q", addr)
		}
		return v, nil
	case <-v.gone:
		return nil, fmt.Errorf("it does not start: %s", v.lastWords())
	case <-time.After(30 * time.Second):
		v.kill()
		return nil, fmt.Errorf("it has not said within 30 s where it listens: %s", v.lastWords())
	}
}

// freePort is an address that nobody listens on just now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
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
	if v.cmd.Process.Signal(os.Interrupt) != nil {
		v.cmd.Process.Kill() // Windows has no such signal for others
	}
	select {
	case <-v.ending:
	case <-v.gone:
	case <-time.After(5 * time.Second):
	}
}

// stop ends the server in order and returns its counters, nil if it has none.
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
		return nil, errors.New("it does not end when it is asked to")
	}
	return v.counters(), nil
}

// counters are what a server that has ended has printed, nil if it has not.
func (v *server) counters() *Counters {
	var last *Counters
	for line := range bytes.Lines(v.stdout.Bytes()) { // what the reader prints is there, too
		var c Counters
		if json.Unmarshal(line, &c) == nil && c.Calls != nil {
			last = &c
		}
	}
	return last
}

// kill ends the server at once.
func (v *server) kill() {
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
