//go:build linux

package wine

import (
	"bytes"
	"debug/pe"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The stand-in is what it should be: read back with Go's own parser, byte for byte the
// same every time, and (below) accepted by Wine.
func TestStandInIsAForwarder(t *testing.T) {
	assert.Equal(t, standIn(), standIn())
	f, err := pe.NewFile(bytes.NewReader(standIn()))
	require.NoError(t, err)
	require.Len(t, f.Sections, 1)
	section, err := f.Sections[0].Data()
	require.NoError(t, err)
	header := f.OptionalHeader.(*pe.OptionalHeader64)
	exports := header.DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_EXPORT]
	assert.Equal(t, f.Sections[0].VirtualAddress, exports.VirtualAddress)
	for _, name := range []string{standInName, standInFunc, forwardedTo} {
		at := strings.Index(string(section), name+"\x00")
		assert.Positive(t, at)
		assert.Less(t, at, int(exports.Size), "%s lies in the export directory: that makes it a forwarder", name)
	}
}

const program = `package main

import (
	"crypto/rand"
	"fmt"
	"os"
)

func main() {
	b := make([]byte, 1000)
	rand.Read(b)
	zeros := 0
	for _, x := range b {
		if x == 0 {
			zeros++
		}
	}
	dir, _ := os.Getwd()
	_, err := os.Stat(os.Getenv("A_FILE"))
	fmt.Println(zeros < 100, dir, err, os.Args[1])
	os.Exit(7)
}
`

func TestAProgramRunsAndNothingIsLeft(t *testing.T) {
	if Find() == "" {
		t.Skip(ErrMissing)
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644))
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "a.exe"), filepath.Join(dir, "main.go"))
	build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))

	s, err := Start()
	require.NoError(t, err)
	cmd := s.Command(filepath.Join(dir, "a.exe"), "argument")
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "A_FILE="+Path(filepath.Join(dir, "main.go")))
	file, err := os.Create(filepath.Join(dir, "output"))
	require.NoError(t, err)
	cmd.Stdout = file
	_ = cmd.Run()
	file.Close()
	out, _ = os.ReadFile(file.Name())
	assert.Equal(t, "true "+Path(dir)+" <nil> argument\n", string(out))
	assert.Equal(t, 7, cmd.ProcessState.ExitCode())
	require.NoError(t, s.Close())
	assert.NoDirExists(t, s.dir)
	assert.Empty(t, processes(t, s.dir), "processes of the session are left")
}

// processes are those whose environment names prefix.
func processes(t *testing.T, prefix string) (pids []string) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	for _, file := range files {
		if env, err := os.ReadFile(file); err == nil && strings.Contains(string(env), "WINEPREFIX="+prefix) {
			pids = append(pids, file)
		}
	}
	return pids
}
