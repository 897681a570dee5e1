package catalogue

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSevenLessonsInOrder(t *testing.T) {
	all := All()
	require.Len(t, all, 7)
	for i, l := range all {
		assert.Equal(t, i+1, l.Number)
		assert.Equal(t, l.ID(0)+"-", l.Folder[:3])
		for _, goos := range []string{"linux", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "windows", "plan9"} {
			run := l.Runs(goos)
			assert.True(t, run.How == Native || run.Why != "", "%s on %s should say why it is %q", l.Folder, goos, run.How)
		}
	}
}

func TestFindTakesEverySpelling(t *testing.T) {
	for arg, want := range map[string]string{
		"1": "01", "01": "01", "01-select": "01", "select": "01", "selectloop": "01", "SELECT": "01",
		"lessons/01-select": "01", "01-select/": "01", "1.2": "01.2", "01.2": "01.2", "select.2": "01.2",
	} {
		l, step, err := Find(arg)
		if assert.NoError(t, err, arg) {
			assert.Equal(t, want, l.ID(step), arg)
		}
	}
	for arg, want := range map[string]string{
		"9":      `there is no lesson "9"`,
		"":       `there is no lesson ""`,
		"selct":  "did you mean select?",
		"01.0":   "should be a number",
		"01.-1":  "should be a number",
		"01.99":  "has steps 1 to",
		"01.2.3": "should be a number",
	} {
		_, _, err := Find(arg)
		assert.ErrorContains(t, err, want, arg)
	}
}

func TestNearestIsNotFarFetched(t *testing.T) {
	names := []string{"run", "watch", "hint"}
	assert.Equal(t, "run", Nearest("rnu", names))
	assert.Equal(t, "watch", Nearest("wach", names))
	assert.Empty(t, Nearest("frobnicate", names))
}

func TestRootIsTheFolderOfTheModule(t *testing.T) {
	t.Setenv("IOLAB_ROOT", "")
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	require.NoError(t, os.MkdirAll(deep, 0o755))
	_, err := Root(deep)
	require.ErrorContains(t, err, "not in a clone of iolab")

	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module iolab\r\n\r\ngo 1.26\r\n"), 0o644))
	root, err := Root(deep)
	require.NoError(t, err)
	assert.Equal(t, dir, root)
}

func TestHashIgnoresLineEnds(t *testing.T) {
	assert.Equal(t, Hash([]byte("a\nb\n")), Hash([]byte("a\r\nb\r\n")))
	assert.NotEqual(t, Hash([]byte("a\nb\n")), Hash([]byte("a\nb")))
}

func TestSectionsOfAREADME(t *testing.T) {
	const readme = "# Title\n\n" +
		"### Step 1: First\n\nText.\n\n**The tests:** do this\nand that.\n\nMore.\n\n" +
		"<details><summary>Hint 1</summary>\n\nLook.\n\n```go\n### Step 9: not a heading\n</details>\n```\n</details>\n" +
		"<details><summary>Hint 2: the end</summary>Short.</details>\n" +
		"### Step 2: Second\n\n**The tests:** nothing.\n\n## After\n\n<details><summary>Hint 1</summary>\n\nNo step's.\n</details>\n"
	s, err := Sections(readme)
	require.NoError(t, err)
	require.Len(t, s, 2)
	assert.Equal(t, "First", s[0].Title)
	assert.Equal(t, "do this and that.", s[0].Asks)
	require.Len(t, s[0].Hints, 2)
	assert.Contains(t, s[0].Hints[0], "Look.")
	assert.Equal(t, "Short.", s[0].Hints[1])
	assert.Empty(t, s[1].Hints)

	_, err = Sections("### Step 2: Second\n")
	assert.ErrorContains(t, err, "step 1 should come next")
}
