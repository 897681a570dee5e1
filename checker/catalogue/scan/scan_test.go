package scan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
)

// TestTheManifestIsNotStale compares the manifest with the lessons' folders. A
// lesson's file that a reader has begun to fill in is not compared.
func TestTheManifestIsNotStale(t *testing.T) {
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	m, err := Manifest(root)
	require.NoError(t, err)
	var delivered []string
	for _, l := range catalogue.All() {
		if l.Ready() {
			delivered = append(delivered, l.Folder)
		}
	}
	var present []string
	for _, e := range m.Lessons {
		present = append(present, e.Folder)
	}
	const cure = "the manifest is stale: go generate ./checker/catalogue"
	require.Equal(t, present, delivered, cure)
	for _, e := range m.Lessons {
		l, _, err := catalogue.Find(e.Folder)
		require.NoError(t, err)
		assert.Equal(t, e.Steps, l.Steps, cure)
		assert.Equal(t, e.Tests, l.Tests, cure)
		if unwritten(t, root, l, e) {
			assert.Equal(t, e.Skeleton, l.Skeleton, cure)
		}
	}
}

// unwritten says whether every step is still to be written.
func unwritten(t *testing.T, root string, l catalogue.Lesson, e catalogue.Entry) bool {
	var all strings.Builder
	for name := range e.Skeleton {
		text, err := os.ReadFile(filepath.Join(l.Dir(root), name))
		require.NoError(t, err)
		all.Write(text)
	}
	for _, s := range l.Steps {
		if !strings.Contains(all.String(), `NotImplemented("`+l.ID(s.Number)+`"`) {
			return false
		}
	}
	return true
}

func TestEntryWantsStepsAndTestsToAgree(t *testing.T) {
	l, _, err := catalogue.Find("01")
	require.NoError(t, err)
	const readme = "### Step 1: One\n\n**The tests:** x.\n"
	for _, c := range []struct{ readme, test, want string }{
		{readme, "package p\nfunc TestStep01_A(t *testing.T) {}\n", ""},
		{readme, "package p\nfunc TestStep02_A(t *testing.T) {}\n", "belongs to no step"},
		{readme, "package p\nfunc TestOther(t *testing.T) {}\n", "is no step's test"},
		{readme, "package p\n", "no test named TestStep01_"},
		{"### Step 1: One\n", "package p\nfunc TestStep01_A(t *testing.T) {}\n", "no paragraph that begins"},
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte(c.readme), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "server_test.go"), []byte(c.test), 0o644))
		e, err := entry(l, dir)
		if c.want != "" {
			assert.ErrorContains(t, err, c.want)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, []catalogue.Test{{Name: "TestStep01_A"}}, e.Steps[0].Tests)
	}
}

func TestATestMayBelongToSomeSystems(t *testing.T) {
	l, _, err := catalogue.Find("01")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("### Step 1: One\n\n**The tests:** x.\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a_linux_test.go"), []byte("package p\nfunc TestStep01_A(t *testing.T) {}\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b_test.go"), []byte("//go:build !windows && !linux\n\npackage p\nfunc TestStep01_B(t *testing.T) {}\n"), 0o644))
	e, err := entry(l, dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"linux"}, e.Steps[0].Tests[0].Only)
	assert.Equal(t, []string{"darwin", "freebsd", "netbsd", "openbsd", "dragonfly"}, e.Steps[0].Tests[1].Only)
}
