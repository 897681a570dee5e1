// Package wine runs Windows programs on Linux, for lesson 05: in a Wine prefix of its own
// that takes a tenth of a megabyte and as many seconds, without a screen, and with nothing
// left behind.
package wine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// folders are where Debian and others keep the programs if they are not on PATH.
var folders = []string{"/usr/lib/wine", "/usr/lib/x86_64-linux-gnu/wine", "/opt/wine-stable/bin"}

// find is the path of the first of names that is on PATH or in one of the folders.
func find(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		for _, dir := range folders {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
				return path
			}
		}
	}
	return ""
}

// Find is the path of Wine, "" if it is not installed.
func Find() string {
	if find("wineserver64", "wineserver") == "" {
		return ""
	}
	return find("wine64", "wine")
}

// ErrMissing says that Wine is not installed, and how to change that.
var ErrMissing = errors.New("no Wine is installed: apt install wine64, or see `go run ./checker doctor`")

// Session is a Wine of one's own: a prefix and a server.
type Session struct {
	dir          string
	wine, server string
}

// idle is how long the server stays when its last program has ended and nobody has called
// Close: the process that should have is gone.
const idle = 30 * time.Second

// Start makes a prefix in a temporary folder and starts its server. Close ends both.
func Start() (*Session, error) {
	s := &Session{wine: Find(), server: find("wineserver64", "wineserver")}
	if s.wine == "" {
		return nil, ErrMissing
	}
	var err error
	if s.dir, err = os.MkdirTemp("", "iolab-wine-"); err != nil {
		return nil, err
	}
	if err = s.prefix(); err == nil {
		err = s.run(s.server, fmt.Sprintf("-p%d", int(idle.Seconds())))
	}
	if err != nil {
		os.RemoveAll(s.dir)
		return nil, fmt.Errorf("a Wine prefix cannot be made: %w", err)
	}
	return s, nil
}

// prefix makes what a console program needs of a prefix. Wine itself would copy 700 MB of
// DLLs, which it finds in its own folders as well (WINEBOOTSTRAPMODE), and fill a registry.
func (s *Session) prefix() error {
	system32 := filepath.Join(s.dir, "drive_c", "windows", "system32")
	for _, dir := range []string{system32, filepath.Join(s.dir, "drive_c", "temp"), filepath.Join(s.dir, "dosdevices")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{"c:": "../drive_c", "z:": "/"} {
		if err := os.Symlink(target, filepath.Join(s.dir, "dosdevices", name)); err != nil {
			return err
		}
	}
	// So that Wine does not fill the prefix.
	if err := os.WriteFile(filepath.Join(s.dir, ".update-timestamp"), []byte("disable\n"), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(system32, standInName), standIn(), 0o644)
}

// Command is the command that runs the Windows program exe with args. Its output has to
// go to a file: of a pipe the helpers that Wine starts would hold the other end.
func (s *Session) Command(exe string, args ...string) *exec.Cmd {
	cmd := exec.Command(s.wine, append([]string{exe}, args...)...)
	cmd.Env = s.env()
	return cmd
}

// env has TMPDIR in the prefix, because the server leaves its socket's folder there.
func (s *Session) env() []string {
	return append(os.Environ(), "WINEPREFIX="+s.dir, "TMPDIR="+s.dir, "WINEBOOTSTRAPMODE=1", "WINEDEBUG=-all", "WINEARCH=win64",
		"WINEDLLOVERRIDES=mscoree,mshtml=;winemenubuilder.exe=d", "DISPLAY=", `TMP=C:\temp`, `TEMP=C:\temp`)
}

// Path is a file of this system as Windows programs name it.
func Path(file string) string { return "Z:" + strings.ReplaceAll(file, "/", `\`) }

func (s *Session) run(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Env = s.env()
	if err := cmd.Run(); err != nil { // no input, no output: nothing can hold them
		return fmt.Errorf("%s %s: %w", filepath.Base(name), strings.Join(args, " "), err)
	}
	return nil
}

// Close ends the server and with it every program that is left, waits until they are
// gone, and removes the prefix.
func (s *Session) Close() error {
	_ = s.run(s.server, "-k") // it fails if there is no server any more
	err := s.run(s.server, "-w")
	return errors.Join(err, os.RemoveAll(s.dir))
}
