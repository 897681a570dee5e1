package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

var example = Report{
	Lesson: "02-epoll-lt", Step: 4, Test: "TestStep04_WriteInterestIsDisarmedWhenTheQueueIsEmpty", Outcome: Failed,
	Problem: "an idle server should use about no CPU, but the loop was busy for 998 ms of the second in which nobody said anything",
	Story: []Action{
		{Did: "New(the zero Config)"},
		{Did: "client 1 connects"},
		{Did: "look at the loop's CPU time for 1 s", Got: "998 ms"},
	},
	Evidence: []Evidence{
		{Name: "the loop", Text: "running"},
		{Name: "epoll interest list", Text: "fd 7  IN|OUT  client 1\nfd 8  IN      listener\n"},
	},
	Cause: &Cause{ID: "write-interest-left-armed", Text: "EPOLLOUT stays armed though nothing is queued.", Read: "step 4"},
}

func TestTextOfAReport(t *testing.T) {
	assert.Equal(t, `FAILED  step 4: write interest is disarmed when the queue is empty

  an idle server should use about no CPU, but the loop was busy for 998 ms of
  the second in which nobody said anything

  What the test did
     1  New(the zero Config)
     2  client 1 connects
  >  3  look at the loop's CPU time for 1 s
        -> 998 ms

  What was seen
    the loop: running
    epoll interest list:
      fd 7  IN|OUT  client 1
      fd 8  IN      listener

  Likely cause
    EPOLLOUT stays armed though nothing is queued.
    Read: step 4
`, Text(example, Options{ASCII: true, Width: 80}))
}

func TestTextKeepsToItsWidthAndColours(t *testing.T) {
	for line := range strings.Lines(Text(example, Options{})) {
		assert.LessOrEqual(t, utf8.RuneCountInString(line), 81, line)
	}
	assert.Contains(t, Text(example, Options{Color: true}), "\x1b[31mFAILED\x1b[0m")
	assert.NotContains(t, Text(example, Options{}), "\x1b")
}

func TestTextIsSafeForTerminals(t *testing.T) {
	text := Text(Report{Outcome: Failed, Problem: "\x1b[2J\x07got \xff", Evidence: []Evidence{{"x", "a\x1bb\nc"}}}, Options{ASCII: true})
	assert.NotContains(t, text, "\x1b")
	assert.NotContains(t, text, "\x07")
}

func TestSentence(t *testing.T) {
	for name, want := range map[string]string{
		"HundredClientsConnectAndTheCountIs100": "hundred clients connect and the count is 100",
		"EMFILEDoesNotSpin":                     "EMFILE does not spin",
		"ALateReaderLosesNothing":               "a late reader loses nothing",
		"":                                      "",
		"NewSaysWhyItCannotListen":              "New says why it cannot listen",
		"ANewServerCanBeConnectedTo":            "a new server can be connected to",
		"OnCloseTellsHowItEnded":                "OnClose tells how it ended",
		"CloseWriteSendsWhatIsQueued":           "CloseWrite sends what is queued",
		"WakeMakesPollReturn":                   "Wake makes Poll return",
		"ACloseBetweenTurnsIsHeard":             "a close between turns is heard",
	} {
		assert.Equal(t, want, Sentence(name))
	}
}
