// Package report is what the lab's tests say of a step that did not pass, and
// how it is shown. [checker/labtest] writes reports, the checker reads them; the
// text is the same in both, so that plain `go test` is as useful as the checker.
package report

// Outcome is how a step ended.
type Outcome string

// The outcomes of a step. A step that ran and has no report passed.
const (
	Failed      Outcome = "failed"      // the reader's server does something wrong
	NotStarted  Outcome = "not-started" // a step that is not written yet was reached
	Unavailable Outcome = "unavailable" // this machine cannot show it: Problem says why, and the cure
)

// Report is one test's account of why it did not pass.
type Report struct {
	Lesson  string  `json:"lesson"` // folder, such as "02-epoll-lt"
	Step    int     `json:"step"`   // from the test's name
	Test    string  `json:"test"`   // such as "TestStep04_WriteInterestIsDisarmedWhenTheQueueIsEmpty"
	Outcome Outcome `json:"outcome"`

	// Problem is one sentence: what should have happened, and what did instead. For
	// NotStarted it names the step that is to be written.
	Problem string `json:"problem"`

	// Story is what the test did, in order, and what came back; the last action is
	// the one that failed.
	Story []Action `json:"story,omitempty"`

	// Evidence is what was seen from outside at the moment of failure.
	Evidence []Evidence `json:"evidence,omitempty"`

	// Cause is the likely mistake, if the evidence points to one.
	Cause *Cause `json:"cause,omitempty"`
}

// Action is one line of the story.
type Action struct {
	Did string `json:"did"`           // "client 3 sends 8388608 bytes"
	Got string `json:"got,omitempty"` // "connection reset by peer"; empty: as expected
}

// Evidence is one thing seen: a name and a text of one or more lines.
type Evidence struct {
	Name string `json:"name"` // "epoll interest list"
	Text string `json:"text"`
}

// DoesNotCompile is the ID of the cause of a report on files that do not compile.
const DoesNotCompile = "does-not-compile"

// Compiles tells whether r is of files that do.
func (r Report) Compiles() bool { return r.Cause == nil || r.Cause.ID != DoesNotCompile }

// Cause is a mistake that explains a failure.
type Cause struct {
	ID   string `json:"id"`             // stable, such as "write-interest-left-armed"; mutants name it
	Text string `json:"text"`           // what is wrong, in plain words, one or two sentences
	Read string `json:"read,omitempty"` // where to read: a heading of the lesson, a man page
}
