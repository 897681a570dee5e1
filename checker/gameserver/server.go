// Package gameserver runs lesson 07's server, the reader's or the solution's, as a child
// process: for the arena and for the terminal client.
package gameserver

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"iolab/checker/runner"
)

// startWithin is how long a server may take to say where it listens, and stopWithin
// how long it may take to end.
const (
	startWithin = 20 * time.Second
	stopWithin  = 3 * time.Second
)

// Server is a game server that runs as a child process.
type Server struct {
	Addr  string
	Stats <-chan Stats // one about ten times a second; the oldest are dropped if nobody takes them

	child    *runner.Child
	commands io.WriteCloser
	log      tail
}

// Build builds the reader's server, or the solution's, in the clone at root, into dir, and
// returns the program.
func Build(ctx context.Context, root, dir string, solution bool) (program string, err error) {
	pkg, name := "./lessons/07-game-loop/server", "yours"
	if solution {
		pkg, name = "./solutions/07-game-loop/server", "solution"
	}
	program = filepath.Join(dir, "server-"+name+".exe")
	return program, runner.BuildMain(ctx, root, pkg, program)
}

// NotWritten is the error of a server that met a step which the reader has not written
// yet.
type NotWritten struct{ Step string } // in the server's words

func (e *NotWritten) Error() string { return e.Step }

// Start starts program on addr and waits until it listens.
func Start(ctx context.Context, program, addr, engine string, flags ...string) (*Server, error) {
	s := &Server{}
	cmd := exec.Command(program, append([]string{"-addr", addr, "-engine", engine, "-json-stats", "100ms", "-control"}, flags...)...)
	listening := make(chan string, 1)
	stats := make(chan Stats, 32)
	s.Stats = stats
	// Writers and not pipes: Wait returns when all is read.
	cmd.Stdout = &lines{each: func(line string) {
		if st, ok := parseStats(line); ok {
			select {
			case stats <- st:
			default:
				select { // nobody looks: the newest count
				case <-stats:
				default:
				}
				stats <- st
			}
		}
	}}
	cmd.Stderr = &lines{each: func(line string) {
		s.log.add(line)
		if _, rest, ok := strings.Cut(line, "msg=listening addr="); ok {
			addr, _, _ := strings.Cut(rest, " ")
			select {
			case listening <- addr:
			default:
			}
		}
	}}
	var err error
	if s.commands, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if s.child, err = runner.StartChild(cmd); err != nil {
		return nil, err
	}
	select {
	case s.Addr = <-listening:
		return s, nil
	case <-s.child.Done():
		return nil, s.Err()
	case <-time.After(startWithin):
		err = fmt.Errorf("the server does not listen after %v; it said:\n%s", startWithin, s.log.text())
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Stop()
	return nil, err
}

// PID is the server's process number.
func (s *Server) PID() int { return s.child.PID() }

// Done is closed when the server has ended.
func (s *Server) Done() <-chan struct{} { return s.child.Done() }

// Err says why the server has ended, after Done.
func (s *Server) Err() error {
	status, signal := s.child.Ended()
	how := fmt.Sprintf("the server ended with status %d", status)
	if status < 0 {
		how = fmt.Sprintf("the server was ended by a signal (%s)", signal)
	}
	switch last := s.log.last(); {
	case status == 3 && strings.Contains(last, "is not written yet"):
		return &NotWritten{last}
	case s.log.text() == "":
		return fmt.Errorf("%s and without a word", how)
	default:
		return fmt.Errorf("%s; it said:\n%s", how, s.log.text())
	}
}

// Stall holds the server's loop up.
func (s *Server) Stall(d time.Duration) error {
	_, err := fmt.Fprintf(s.commands, "stall %v\n", d)
	return err
}

// Stop ends the server, in good order if it can, and waits for that. The end of its input
// asks for it; a signal beside it would be the second request, which ends a server at once.
func (s *Server) Stop() {
	s.commands.Close()
	select {
	case <-s.child.Done():
	case <-time.After(stopWithin):
		s.child.Kill()
	}
}

// lines is a writer that hands on whole lines.
type lines struct {
	each func(string)
	part []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.part = append(l.part, p...)
	for {
		i := strings.IndexByte(string(l.part), '\n')
		if i < 0 {
			if len(l.part) > 1<<20 { // a reader's server may print anything
				l.part = nil
			}
			return len(p), nil
		}
		l.each(strings.TrimRight(string(l.part[:i]), "\r"))
		l.part = l.part[i+1:]
	}
}

// tail keeps the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

const tailLines = 15

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// last is the message of the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == 0 {
		return ""
	}
	line := t.lines[len(t.lines)-1]
	if _, quoted, ok := strings.Cut(line, "msg="); ok { // log/slog's text
		if msg, err := strconv.QuotedPrefix(quoted); err == nil {
			line, _ = strconv.Unquote(msg)
		}
	}
	return line
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
