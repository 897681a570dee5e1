package labtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"iolab/checker/probe"
	"iolab/checker/report"
	"iolab/lessons/engine"
)

// Symptom is what a test saw go wrong, in one word: where the search for the cause
// begins.
type Symptom string

// The symptoms.
const (
	NewFails        Symptom = "New fails"
	ConnectFails    Symptom = "connect fails"
	CountLow        Symptom = "too few connections"
	CountHigh       Symptom = "too many connections"
	NoData          Symptom = "bytes do not come"
	SendStalls      Symptom = "the server does not read"
	WrongBytes      Symptom = "wrong bytes"
	EarlyEOF        Symptom = "closed early"
	EarlyReset      Symptom = "reset early"
	NoEOF           Symptom = "not closed"
	NoOnClose       Symptom = "no OnClose"
	WrongCloseError Symptom = "wrong error in OnClose"
	Busy            Symptom = "busy while idle"
	DescriptorsLeak Symptom = "descriptors leak"
	MemoryGrows     Symptom = "memory grows"
	PollBlocks      Symptom = "Poll does not return"
	PollEarly       Symptom = "Poll returns at once"
	PollFails       Symptom = "Poll fails"
	CloseFails      Symptom = "Close fails"
	CallBlocks      Symptom = "a call does not return"
	Panics          Symptom = "panic"
	ContractBroken  Symptom = "contract broken"
	WakeLost        Symptom = "wake lost"
	ShutdownHangs   Symptom = "Shutdown does not return"
	Unfair          Symptom = "others wait"
	WrongResult     Symptom = "wrong result" // of a call; the test knows the cause
)

// Failure is what a test knows of what went wrong.
type Failure struct {
	Symptom Symptom
	Problem string  // what should have happened, and what did instead
	Client  *Client // whose connection it is about, if one's

	// Suspect is the ID of the cause, if the test itself has ruled out all others.
	// Else the rules look for it in the evidence.
	Suspect string
	// Suspects are rules of this test's own, tried before the general ones.
	Suspects []Rule

	Err    error        // what the client or Poll got
	Panic  any          // what the engine panicked with
	Stack  string       // of a panic
	Leaked []probe.FD   // descriptors that should be gone
	Offset int64        // of the first wrong or missing byte
	Got    []byte       // what came, for WrongBytes
	Want   []byte       // and what should have
	Moved  engine.Stats // what the counters gained: in Busy's window, else while the loop was watched
	Facts  []report.Evidence
}

// Fail ends the test with a report on f.
func (l *Lab) Fail(f Failure) {
	l.t.Helper()
	l.failed = true
	l.feed()
	f.Suspects = append(f.Suspects, l.suspects...)
	if f.Client != nil {
		f.Suspects = append(f.Suspects, f.Client.suspects...)
	}
	s := l.look(f)
	s.restate()
	if at, ok := l.shutdownAt, s.ShutdownErr != nil; ok && l.story[at].Got == "" {
		l.story[at].Got = fmt.Sprintf("it has returned: %v", s.ShutdownErr)
	}
	r := report.Report{Outcome: report.Failed, Problem: s.Problem, Story: l.story}
	r.Evidence = append(append(r.Evidence, f.Facts...), s.evidence()...)
	r.Cause = s.cause()
	if n := len(r.Story); n > 0 && r.Story[n-1].Got == "" {
		r.Story[n-1].Got = s.inAWord()
	}
	l.publish(r)
	l.t.FailNow()
}

// inAWord is what came back for the last action, where the test has not said it.
func (s *Scene) inAWord() string {
	switch {
	case s.Symptom == WrongResult:
		return "" // the problem says it
	case s.Symptom == WrongCloseError && s.Gone:
		return "OnClose was called with " + errText(s.CloseErr)
	}
	return string(s.Symptom)
}

// feed gives back what Starve took: looking and reporting need descriptors.
func (l *Lab) feed() {
	if l.release != nil {
		l.release()
	}
}

// Unavailable ends the test as one that this machine cannot run: why, and what
// would help.
func (l *Lab) Unavailable(format string, args ...any) {
	l.t.Helper()
	l.failed = true
	l.publish(report.Report{Outcome: report.Unavailable, Problem: fmt.Sprintf(format, args...)})
	l.t.SkipNow()
}

// publish prints r, and leaves it where the checker looks for it.
func (l *Lab) publish(r report.Report) {
	l.t.Helper()
	var variant string
	r.Test, variant, _ = strings.Cut(l.t.Name(), "/")
	r.Step = step(r.Test)
	if variant != "" {
		r.Evidence = append(r.Evidence, report.Evidence{Name: "the engine's variant", Text: strings.ReplaceAll(variant, "_", " ")})
	}
	if dir, err := os.Getwd(); err == nil {
		r.Lesson = filepath.Base(dir)
	}
	l.t.Log("\n" + report.Text(r, report.Options{ASCII: true, Width: 100}))
	path := os.Getenv("IOLAB_REPORT")
	if path == "" {
		return
	}
	line, err := json.Marshal(r)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
			_, err = f.Write(append(line, '\n'))
			f.Close()
		}
	}
	if err != nil {
		l.t.Logf("the report could not be written for the checker: %v", err)
	}
}

// lines joins what is worth a line.
func lines(s ...string) string {
	var kept []string
	for _, line := range s {
		if line != "" {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}
