package solutions_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
	"iolab/checker/runner"
	"iolab/checker/wine"
	"iolab/checker/workspace"
)

// TestUnderWine runs lesson 05's solution, and the suite of the API that it is built on,
// as Windows programs.
func TestUnderWine(t *testing.T) {
	if wine.Find() == "" {
		t.Skip(wine.ErrMissing)
	}
	if raceEnabled {
		t.Skip("the race detector needs a C compiler for Windows")
	}
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	t.Run("iocp", func(t *testing.T) {
		t.Parallel()
		pkg := filepath.Join(root, "lessons/05-iocp/iocp")
		exe := filepath.Join(t.TempDir(), "iocp.test")
		build := exec.Command("go", "test", "-c", "-o", exe, ".")
		build.Dir, build.Env = pkg, append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		require.NoError(t, err, string(out))
		s, err := wine.Start()
		require.NoError(t, err)
		defer s.Close()
		file, err := os.Create(filepath.Join(t.TempDir(), "output"))
		require.NoError(t, err)
		defer file.Close()
		cmd := s.Command(exe, "-test.v", "-test.timeout=2m")
		cmd.Dir, cmd.Stdout, cmd.Stderr = pkg, file, file
		err = cmd.Run()
		out, _ = os.ReadFile(file.Name())
		require.NoError(t, err, string(out))
		require.Contains(t, string(out), "\nPASS")
	})
	l, _, err := catalogue.Find("05")
	if err != nil {
		t.Skip(err)
	}
	t.Run(l.Folder, func(t *testing.T) {
		t.Parallel()
		workspace.Touch(root, l)
		s, err := runner.Solution(root, l)
		require.NoError(t, err)
		s.Wine, s.Once = true, true
		b, err := runner.Build(context.Background(), root, s)
		require.NoError(t, err)
		defer b.Remove()
		for _, step := range l.Steps {
			t.Run(l.ID(step.Number), func(t *testing.T) { passes(t, b, step.Number) })
		}
	})
}
