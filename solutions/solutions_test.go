// Package solutions_test proves that every solution passes every step of its
// lesson: it runs the lesson's own tests with the solution's files in the place of
// the reader's.
package solutions_test

import (
	"context"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
	"iolab/checker/workspace"
)

func TestSolutions(t *testing.T) {
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	for _, l := range catalogue.All() {
		t.Run(l.Folder, func(t *testing.T) {
			if !l.Ready() {
				t.Skip("still to come")
			}
			if run := l.Runs(runtime.GOOS); !run.OK() {
				t.Skip(run.Why)
			}
			t.Parallel()
			workspace.Touch(root, l)
			s, err := runner.Solution(root, l)
			require.NoError(t, err)
			s.Race = raceEnabled
			b, err := runner.Build(context.Background(), root, s)
			require.NoError(t, err)
			defer b.Remove()
			for _, step := range l.Steps {
				t.Run(l.ID(step.Number), func(t *testing.T) { passes(t, b, step.Number) })
			}
		})
	}
}

func passes(t *testing.T, b *runner.Binary, step int) {
	limits := runner.DefaultLimits.Patient()
	if raceEnabled {
		limits.Time *= 2
	}
	r, err := b.Step(context.Background(), step, limits)
	require.NoError(t, err)
	for _, rep := range r.Reports {
		t.Log("\n" + report.Text(rep, report.Options{ASCII: true, Width: 100}))
	}
	if r.Outcome == report.Unavailable {
		t.Skip("unavailable here")
	}
	require.Equal(t, runner.Passed, r.Outcome)
}
