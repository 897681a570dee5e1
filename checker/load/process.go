package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// Flag is the argument that makes a program that calls [Main] first the load generator.
const Flag = "load-generator"

// Main makes the process a load generator if its first argument is [Flag], and does not
// return then. A program or test that calls [Start] with its own executable has to call it
// before anything else.
func Main() {
	if len(os.Args) < 2 || os.Args[1] != Flag {
		return
	}
	raiseFileLimit()
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// order is a line on the generator's input: the first has a Spec, the others a verb.
type order struct {
	Spec *Spec  `json:"spec,omitempty"`
	Verb string `json:"verb,omitempty"` // "run", "echo"
}

// word is a line on its output, one for each order; "run" has two before it, which mark the
// window.
type word struct {
	Mark      string  `json:"mark,omitempty"` // "begin", "end"
	Connected int     `json:"connected,omitempty"`
	Result    *Result `json:"result,omitempty"`
	Error     string  `json:"error,omitempty"`
	Errno     int     `json:"errno,omitempty"` // if it comes from the system
}

// explain puts err into the word.
func (w *word) explain(err error) {
	if err == nil {
		return
	}
	w.Error = err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		w.Errno = int(errno)
	}
}

// reported is an error of the generator's. errors.Is finds the system's error in it.
type reported struct {
	text  string
	errno syscall.Errno
}

func (e reported) Error() string { return e.text }

func (e reported) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// serve takes orders until the input ends, which is when the process that gave them wants
// the connections closed, or is gone.
func serve(in io.Reader, out io.Writer) error {
	orders := make(chan order)
	go func() {
		lines := json.NewDecoder(bufio.NewReader(in))
		for {
			var o order
			if lines.Decode(&o) != nil {
				os.Exit(0) // also in the middle of a run
			}
			orders <- o
		}
	}()
	say := json.NewEncoder(out)
	first := <-orders
	if first.Spec == nil {
		return errors.New("the first line has to be a spec")
	}
	if err := first.Spec.Check(); err != nil {
		return say.Encode(word{Error: err.Error()})
	}
	g := newGenerator(first.Spec.withDefaults())
	defer g.close()
	n, err := g.connect()
	for {
		w := word{Connected: n}
		w.explain(err)
		if err := say.Encode(w); err != nil {
			return err
		}
		switch o := <-orders; o.Verb {
		case "run":
			var r Result
			r, err = g.run(func(begins bool) {
				mark := "end"
				if begins {
					mark = "begin"
				}
				say.Encode(word{Mark: mark}) // who does not listen is noticed at the next
			})
			w = word{Connected: n, Result: &r}
			w.explain(err)
			if err := say.Encode(w); err != nil {
				return err
			}
			<-orders // to the end of the input
		case "echo":
			err = g.echo()
		default:
			return fmt.Errorf("there is no order %q", o.Verb)
		}
	}
}

// Process is a load generator at work.
type Process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	words  *json.Decoder
}

// Start starts the load generator, which is the program exe with [Flag], through start,
// or, if that is nil, through cmd.Start. It returns when the connections are there and a
// message has come back on each; if that fails, Connected says how far it got, and the
// connections that are there stay until Close.
func Start(exe string, spec Spec, start func(*exec.Cmd) error) (p *Process, connected int, err error) {
	if err := spec.Check(); err != nil {
		return nil, 0, err
	}
	p, err = launch(exe, start)
	if err != nil {
		return nil, 0, fmt.Errorf("the load generator cannot start: %w", err)
	}
	w, err := p.order(order{Spec: &spec}, nil)
	return p, w.Connected, err
}

func launch(exe string, start func(*exec.Cmd) error) (*Process, error) {
	if start == nil {
		start = (*exec.Cmd).Start
	}
	cmd := exec.Command(exe, Flag)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := start(cmd); err != nil {
		return nil, err
	}
	return &Process{cmd: cmd, in: in, orders: json.NewEncoder(in), words: json.NewDecoder(bufio.NewReader(out))}, nil
}

// order gives an order and waits for the word on it. Marks before that are given to mark.
func (p *Process) order(o order, mark func(begins bool)) (word, error) {
	var w word
	if err := p.orders.Encode(o); err != nil {
		return w, fmt.Errorf("the load generator is gone: %w", err)
	}
	for {
		w = word{}
		if err := p.words.Decode(&w); err != nil {
			return w, fmt.Errorf("the load generator is gone: %w", err)
		}
		if w.Mark == "" {
			break
		}
		if mark != nil {
			mark(w.Mark == "begin")
		}
	}
	if w.Error != "" {
		return w, reported{w.Error, syscall.Errno(w.Errno)}
	}
	return w, nil
}

// PID is the generator's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Run makes the load and returns what was measured. It calls mark, if it is not nil, with
// true just after the window has begun, and with false just after it has ended; the load
// does not wait for it. Run can be called once.
func (p *Process) Run(mark func(begins bool)) (Result, error) {
	w, err := p.order(order{Verb: "run"}, mark)
	if err != nil {
		return Result{}, err
	}
	return *w.Result, nil
}

// Echo has every connection send a message and read it back.
func (p *Process) Echo() error {
	_, err := p.order(order{Verb: "echo"}, nil)
	return err
}

// Kill ends the generator at once, also in the middle of Start, Run or Echo, which then
// fails. Any goroutine may call it; Close is still to be called.
func (p *Process) Kill() { p.cmd.Process.Kill() }

// Close ends the generator and so all its connections.
func (p *Process) Close() {
	p.in.Close()
	p.cmd.Wait()
}
