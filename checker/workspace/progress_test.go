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
	at(t, p, 3, false)

	write(t, root, "package q\n")
	p = Load(root)
	assert.Equal(t, 0, p.Of(lesson).Done(lesson))
	assert.Equal(t, 2, p.Of(lesson).Ever(lesson))
	at(t, p, 3, false) // the reader is where they were

	// A result of files that are no longer there is worth nothing.
	p.Set(lesson, files, 1, runner.Passed)
	assert.Equal(t, 0, p.Of(lesson).Done(lesson))
}

func at(t *testing.T, p *Progress, step int, again bool) {
	t.Helper()
	s, a := p.Of(lesson).At(lesson)
	assert.Equal(t, step, s)
	assert.Equal(t, again, a)
}

func TestAStepPassedOutOfTurnCountsAndSkipsNothing(t *testing.T) {
	root := lab(t)
	p := Load(root)
	p.Set(lesson, Fingerprint(root, lesson), 2, runner.Passed)
	assert.Equal(t, 1, p.Of(lesson).Done(lesson))
	at(t, p, 1, false)
}

func TestTheReaderIsAtTheStepThatBroke(t *testing.T) {
	root := lab(t)
	p := Load(root)
	at(t, p, 1, false)
	for step := 1; step <= 3; step++ {
		p.Set(lesson, Fingerprint(root, lesson), step, runner.Passed)
	}
	at(t, p, 0, false)

	write(t, root, "package q\n")
	at(t, p, 1, true) // nothing is known to be wrong
	p.Set(lesson, Fingerprint(root, lesson), 1, runner.Passed)
	at(t, p, 2, true)
	p.Set(lesson, Fingerprint(root, lesson), 2, report.Failed)
	at(t, p, 2, false)

	write(t, root, "package r\n")
	at(t, p, 2, false) // also after the next edit
	p.Set(lesson, Fingerprint(root, lesson), 2, runner.Passed)
	at(t, p, 1, true)
}

func TestCommentsAndLayoutChangeNothing(t *testing.T) {
	root := lab(t)
	write(t, root, "package p\n\nvar a = \"//\" + `/* \n ` + \"\\\"//\" // x\n\nfunc f() {}\n")
	want := Fingerprint(root, lesson)
	for _, same := range []string{
		"// Doc.\npackage p\n\n/* more\nlines */\nvar a   =  \"//\" + `/* \n ` + \"\\\"//\"\n// y\nfunc f() /* none */ {}\n",
		"package p\r\nvar a = \"//\" + `/* \n ` + \"\\\"//\"\r\n\tfunc f() {}",
	} {
		write(t, root, same)
		assert.Equal(t, want, Fingerprint(root, lesson), same)
	}
	for _, other := range []string{
		"package p\n\nvar a = \"//\" + `/* \n  ` + \"\\\"//\"\n\nfunc f() {}\n",
		"package p\n\n//go:embed x\nvar a = \"//\" + `/* \n ` + \"\\\"//\"\n\nfunc f() {}\n",
		"package p\n\nvar a = \"//\" + `/* \n ` + \"\\\"//\"\n\nfunc f()\n{}\n",
	} {
		write(t, root, other)
		assert.NotEqual(t, want, Fingerprint(root, lesson), other)
	}
}

func TestSpoiltProgressIsForgotten(t *testing.T) {
	root := lab(t)
	require.NoError(t, os.MkdirAll(filepath.Join(root, ".iolab"), 0o755))
	for _, text := range []string{"", "{", "[]", `{"lessons": {"01-select": null}}`, `{"lessons": 7}`} {
		require.NoError(t, os.WriteFile(file(root), []byte(text), 0o644))
		assert.Equal(t, 0, Load(root).Of(lesson).Done(lesson), text)
	}
}
