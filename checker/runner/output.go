package runner

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"

	"iolab/checker/report"
)

const (
	tailSize  = 64 << 10 // of what the subject printed
	crashSize = 4 << 20  // of the runtime's last words
)

// output takes what a test binary prints with -test.v=test2json: lines of the
// testing package begin with the byte 0x16, which nothing else prints by chance.
type output struct {
	started map[string]bool
	verdict map[string]string // "PASS", "FAIL", "SKIP"
	last    string            // the test that started last

	line    []byte
	logging bool   // the testing package's own log, which the report has
	printed []byte // by the test that started last, without that
	tail    []byte
	crash   []byte // from the runtime's "panic:" or "fatal error:" on
}

var (
	event      = regexp.MustCompile(`^(=== RUN|--- PASS|--- FAIL|--- SKIP):? +(\S+)`)
	crashStart = regexp.MustCompile(`^(panic: |fatal error: |SIG[A-Z]+: |runtime: )`)
)

func (o *output) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			o.line = append(o.line, p...)
			if len(o.line) > tailSize { // not a line of text: keep memory bounded
				o.flush()
			}
			break
		}
		o.line = append(o.line, p[:i+1]...)
		o.flush()
		p = p[i+1:]
	}
	return n, nil
}

// flush takes the line collected so far.
func (o *output) flush() {
	line := o.line
	o.line = o.line[:0]
	if i := bytes.IndexByte(line, 0x16); i >= 0 {
		if m := event.FindSubmatch(line[i+1:]); m != nil {
			o.event(string(m[1]), string(m[2]))
		}
		line = line[:i] // what was printed before it, without a line end
	}
	if len(line) == 0 {
		return
	}
	o.print(line)
	o.tail = append(o.tail, line...)
	if len(o.tail) > 2*tailSize {
		o.tail = append(o.tail[:0], o.tail[len(o.tail)-tailSize:]...)
	}
	if (len(o.crash) > 0 || crashStart.Match(line)) && len(o.crash) < crashSize {
		o.crash = append(o.crash, line...)
	}
}

func (o *output) event(kind, test string) {
	if o.started == nil {
		o.started, o.verdict = map[string]bool{}, map[string]string{}
	}
	if kind == "=== RUN" {
		o.printed = o.printed[:0]
		o.started[test], o.last = true, test
		return
	}
	o.verdict[test] = strings.TrimPrefix(kind, "--- ")
}

// logLine is how the testing package begins what a test logs; the lines after it are
// indented more.
var logLine = regexp.MustCompile(`^ {4}\w+\.go:\d+: `)

// print keeps line if the subject has printed it, and the testing package has not.
func (o *output) print(line []byte) {
	switch {
	case logLine.Match(line):
		o.logging = true
		return
	case o.logging && (bytes.HasPrefix(line, []byte("        ")) || len(bytes.TrimSpace(line)) == 0):
		return
	}
	o.logging = false
	switch strings.TrimSpace(string(line)) {
	case "PASS", "FAIL":
		return
	}
	o.printed = append(o.printed, line...)
	if len(o.printed) > 2*tailSize {
		o.printed = append(o.printed[:0], o.printed[len(o.printed)-tailSize:]...)
	}
}

// lastPrinted are the last lines that the subject printed in the test that started
// last, at most n of them.
func (o *output) lastPrinted(n int) string {
	text := strings.TrimRight(strings.ToValidUTF8(string(o.printed), "?"), "\n")
	lines := strings.Split(text, "\n")
	if more := len(lines) - n; more > 0 {
		return fmt.Sprintf("(%d lines more before these)\n", more) + strings.Join(lines[more:], "\n")
	}
	return text
}

func (o *output) text() string {
	tail := o.tail
	if len(tail) > tailSize {
		tail = tail[len(tail)-tailSize:]
	}
	return strings.ToValidUTF8(strings.ReplaceAll(string(tail), "\x16", ""), "?")
}

// lastLines are at most n lines of the output, without the stacks.
func (o *output) lastLines(n int) string {
	text := o.text()
	if len(o.crash) > 0 {
		first, _, _ := bytes.Cut(o.crash, []byte("\n"))
		if i := strings.Index(text, string(first)); i >= 0 {
			text = text[:i]
		}
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// goroutine is one goroutine of a stack dump.
type goroutine struct {
	header string
	frames []frame
}

type frame struct{ name, file, line string }

var (
	goroutineLine = regexp.MustCompile(`^goroutine (\d+) .*\[([^\]]+)\]:$`)
	fileLine      = regexp.MustCompile(`^\t(.+\.(?:go|s)):(\d+)`)
	arguments     = regexp.MustCompile(`\((0x|\.\.\.|\{|\)|nil|true|false|\d).*$`)
)

// goroutines reads the stacks that the runtime wrote as its last words.
func goroutines(crash []byte) []goroutine {
	var all []goroutine
	var name string
	for line := range strings.Lines(string(crash)) {
		line = strings.TrimRight(line, "\r\n")
		if m := goroutineLine.FindStringSubmatch(line); m != nil {
			all = append(all, goroutine{header: fmt.Sprintf("goroutine %s [%s]", m[1], m[2])})
			name = ""
			continue
		}
		if line == "" || len(all) == 0 {
			name = ""
			continue
		}
		g := &all[len(all)-1]
		if m := fileLine.FindStringSubmatch(line); m != nil && name != "" {
			g.frames = append(g.frames, frame{name: name, file: strings.ReplaceAll(m[1], "\\", "/"), line: m[2]})
			name = ""
			continue
		}
		name = ""
		if !strings.HasPrefix(line, "created by ") {
			name = arguments.ReplaceAllString(line, "")
		}
	}
	return all
}

// inLesson says whether a frame is in the folder of the lesson, and not in its
// tests.
func (f frame) inLesson(folder string) bool {
	return strings.Contains(f.file, "/"+folder+"/") && !strings.HasSuffix(f.file, "_test.go")
}

func (f frame) ofRuntime() bool {
	return strings.HasPrefix(f.name, "runtime.") || strings.HasPrefix(f.name, "internal/") || f.name == "panic"
}

// stacks shows the goroutines that are in the lesson's files, innermost call
// first, at most n of them.
func stacks(crash []byte, folder string, n int) string {
	var b strings.Builder
	for _, g := range goroutines(crash) {
		last := -1
		for i, f := range g.frames {
			if f.inLesson(folder) {
				last = i
			}
		}
		if last < 0 {
			continue
		}
		if n--; n < 0 {
			b.WriteString("and more goroutines\n")
			break
		}
		b.WriteString(g.header + "\n")
		shown := map[frame]bool{}
		for _, f := range g.frames[:last+1] {
			if f.ofRuntime() || shown[f] { // a recursion is told once
				continue
			}
			shown[f] = true
			name, where := path.Base(f.name), path.Base(f.file)
			if f.inLesson(folder) {
				name, where = strings.TrimPrefix(name, folder+"."), "lessons/"+folder+"/"+where
			}
			fmt.Fprintf(&b, "  %s  %s:%s\n", name, where, f.line)
		}
	}
	return b.String()
}

// synthesize is the report on a test that said nothing itself.
func (b *Binary) synthesize(test string, step int, end ending, out *output, limits Limits) report.Report {
	r := report.Report{Lesson: b.Lesson.Folder, Step: step, Test: test, Outcome: report.Failed}
	if test == "" {
		r.Test = out.last
	}
	see := func(name, text string) {
		if strings.TrimSpace(text) != "" {
			r.Evidence = append(r.Evidence, report.Evidence{Name: name, Text: text})
		}
	}
	cause := func(id, text string) { r.Cause = &report.Cause{ID: id, Text: text} }
	stack := stacks(out.crash, b.Lesson.Folder, 4)
	message := crashMessage(out.crash)

	switch {
	case end.how == outOfTime || strings.Contains(message, "test timed out"):
		r.Problem = fmt.Sprintf("the step should be over in seconds, but was still running after %v and was ended", limits.Time)
		see("where your code was", stack)
		cause("hang", "a call that never returns, or a loop that never ends; the innermost line of your file above is the place")
		if stack == "" {
			cause("hang", "something waits for ever, but not in your files: most likely the server never did what the test waits for")
		}
	case end.how == outOfMemory:
		r.Problem = fmt.Sprintf("the step should be content with little memory, but grew past %d MiB and was ended", limits.Memory>>20)
		see("where your code was", stack)
		cause("memory", "a queue or a slice that grows without bound, or goroutines that are started and never end")
	case strings.Contains(message, "unexpected call to os.Exit(0)"):
		r.Problem = "the test should have run to its end, but something called os.Exit(0)"
		see("the call", stack)
		cause("exit", "a server must not end the process it runs in: return the error instead")
	case unwritten.MatchString(message):
		// Panicked on a goroutine of the test's, where nobody could catch it.
		r.Outcome, r.Problem = report.NotStarted, unwritten.FindString(message)
	case message != "" && end.signal == "":
		r.Problem = "the server should not crash, but the process ended with: " + message
		see("where", stack)
		see("printed before", out.lastLines(10))
		cause("crash", report.PanicMeaning(message))
	case end.signal != "":
		r.Problem = "the process was ended by a signal: " + end.signal
		see("printed before", out.lastLines(10))
		see("where", stack)
		cause("signal", signalCause(end.signal))
	case out.verdict[test] == "SKIP":
		r.Problem = "the step's test should run, but skipped itself without a reason that the checker knows"
		see("printed", out.lastLines(10))
	case out.verdict[test] == "FAIL":
		r.Problem = "the test failed"
		see("printed", out.lastLines(25))
	default:
		r.Problem = fmt.Sprintf("the test should have run to its end, but the process left before, with exit status %d", end.status)
		see("printed before", out.lastLines(10))
		cause("exit", "something called os.Exit or log.Fatal: a server must not end the process it runs in")
	}
	return r
}

// unwritten is how engine.ErrNotImplemented reads.
var unwritten = regexp.MustCompile(`step \d\d\.\d is not written yet: [\w.]+`)

// crashMessage is what the runtime said it died of.
func crashMessage(crash []byte) string {
	for line := range strings.Lines(string(crash)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			return strings.TrimSuffix(line, " [recovered, repanicked]")
		}
	}
	return ""
}

func signalCause(signal string) string {
	switch signal {
	case "broken pipe":
		return "a write to a connection whose peer is gone: on a descriptor the Go runtime does not know, that is SIGPIPE if the descriptor is 1 or 2"
	case "killed":
		return "the kernel (out of memory?) or somebody else ended the process; see dmesg"
	}
	return "the system ended the process: a bad memory access (unsafe code), or somebody else sent the signal"
}
