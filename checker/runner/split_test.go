package runner

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"

	"iolab/checker/catalogue"
	"iolab/checker/report"
)

func TestEachTestRunsInOnePartAndStrangersInTheFirst(t *testing.T) {
	step := catalogue.Step{Number: 7}
	for _, name := range []string{"A", "B", "C", "AB", "D"} {
		step.Tests = append(step.Tests, catalogue.Test{Name: "TestStep07_" + name})
	}
	for n := range 9 {
		parts := split(step, n)
		assert.Len(t, parts, max(1, min(n, 5)))
		for _, name := range []string{"A", "B", "C", "AB", "D", "TheReadersOwn"} {
			var in []int
			for i, p := range parts {
				if regexp.MustCompile(p.run).MatchString("TestStep07_"+name) && (p.skip == "" || !regexp.MustCompile(p.skip).MatchString("TestStep07_"+name)) {
					in = append(in, i)
				}
			}
			assert.Len(t, in, 1, "%s among %d", name, n)
			if name == "TheReadersOwn" {
				assert.Equal(t, []int{0}, in)
			}
		}
	}
}

func TestPartsAreMergedToWhatOneProcessWouldSay(t *testing.T) {
	step := catalogue.Step{Number: 2, Title: "Two", Tests: []catalogue.Test{{Name: "A"}, {Name: "B"}, {Name: "C"}, {Name: "D"}}}
	says := func(test string, o report.Outcome) report.Report { return report.Report{Test: test, Outcome: o} }
	for _, c := range []struct {
		name   string
		parts  []Result
		want   report.Outcome
		last   string // the last report's test
		output string
	}{
		{"all pass", []Result{{Output: "1"}, {Output: "2"}}, Passed, "", "12"},
		{"the earlier failure counts", []Result{
			{Output: "1", Reports: []report.Report{says("C", report.Failed)}},
			{Output: "2", Reports: []report.Report{says("B", report.NotStarted)}}}, report.NotStarted, "B", "2"},
		{"what is unavailable does not end it", []Result{
			{Output: "1", Reports: []report.Report{says("A", report.Unavailable), says("C", report.Failed)}},
			{Output: "2", Reports: []report.Report{says("D", report.Failed)}}}, report.Failed, "C", "1"},
		{"unavailable only", []Result{
			{Output: "1", Reports: []report.Report{says("A", report.Unavailable)}}, {Output: "2"}}, report.Unavailable, "A", "12"},
		{"a crash before any test", []Result{
			{Output: "1", Reports: []report.Report{says("A", report.Failed)}},
			{Output: "2", Reports: []report.Report{says("", report.Failed)}}}, report.Failed, "", "2"},
	} {
		r := merge(step, c.parts)
		assert.Equal(t, c.want, r.Outcome, c.name)
		assert.Equal(t, c.output, r.Output, c.name)
		if len(r.Reports) > 0 {
			assert.Equal(t, c.last, r.Reports[len(r.Reports)-1].Test, c.name)
		}
	}
}
