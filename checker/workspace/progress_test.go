package workspace

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
	"iolab/checker/report"
	"iolab/checker/runner"
)

var lesson = catalogue.Lesson{Number: 1, Folder: "01-select", Steps: []catalogue.Step{{Number: 1}, {Number: 2}, {Number: 3}}}

func lab(t *testing.T) string {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(lesson.Dir(root), 0o755))
	write(t, root, "package p\n")
	return root
}

func write(t *testing.T, root, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(lesson.Dir(root), "server.go"), []byte(text), 0o644))
}

func TestProgressHoldsForTheFilesThatShowedIt(t *testing.T) {
	root := lab(t)
	p := Load(root)
	files := Fingerprint(root, lesson)
	p.Set(lesson, files, 1, runner.Passed)
	p.Set(lesson, files, 2, report.Unavailable)
	p.Set(lesson, files, 3, report.Failed)
	require.NoError(t, p.Save())

	p = Load(root)
	assert.Equal(t, 2, p.Of(lesson).Done(lesson))
	assert.Equal(t, 3, p.Of(lesson).Next(lesson))

	write(t, root, "package q\n")
	p = Load(root)
	assert.Equal(t, 0, p.Of(lesson).Done(lesson))
	assert.Equal(t, 1, p.Of(lesson).Next(lesson))
	assert.Equal(t, 2, p.Of(lesson).Best)

	// A result of files that are no longer there is worth nothing.
	p.Set(lesson, files, 1, runner.Passed)
	assert.Equal(t, 0, p.Of(lesson).Done(lesson))
}

func TestAStepPassedOutOfTurnIsNotDone(t *testing.T) {
	root := lab(t)
	p := Load(root)
	p.Set(lesson, Fingerprint(root, lesson), 2, runner.Passed)
	assert.Equal(t, 0, p.Of(lesson).Done(lesson))
	assert.Equal(t, 1, p.Of(lesson).Next(lesson))
}

func TestSpoiltProgressIsForgotten(t *testing.T) {
	root := lab(t)
	require.NoError(t, os.MkdirAll(filepath.Join(root, ".iolab"), 0o755))
	for _, text := range []string{"", "{", "[]", `{"lessons": {"01-select": null}}`, `{"lessons": 7}`} {
		require.NoError(t, os.WriteFile(file(root), []byte(text), 0o644))
		assert.Equal(t, 0, Load(root).Of(lesson).Done(lesson), text)
	}
}
