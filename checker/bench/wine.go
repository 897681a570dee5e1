package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"iolab/checker/wine"
)

// underWine is the way of running that has the lesson's Windows program under Wine.
const underWine = "Wine"

// WineSubject is lesson 05's solution as a Windows program, if there is Wine.
func WineSubject() (s Subject, ok bool) {
	if wine.Find() == "" {
		return s, false
	}
	s, err := ParseSubject("solution/05")
	s.Name, s.Runs = "wine/05-iocp", underWine
	return s, err == nil
}

// buildWindows builds the subject's server for Windows.
func (s Subject) buildWindows(ctx context.Context, root, dir string) (string, error) {
	program := filepath.Join(dir, "windows.exe")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", program, s.pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s does not build for Windows:\n%s", s.pkg, out)
	}
	return program, nil
}

// startWine starts program, a server for Windows, in a Wine of its own. It cannot be asked
// to end, so it has no counters.
func startWine(s Subject, program string, on []int) (*server, error) {
	session, err := wine.Start()
	if err != nil {
		return nil, err
	}
	// Of a pipe the helpers that Wine starts would hold the other end.
	file, err := os.CreateTemp("", "iolab-wine-log-")
	if err != nil {
		session.Close()
		return nil, err
	}
	os.Remove(file.Name())
	cmd := session.Command(program, append([]string{"-addr", "127.0.0.1:0", "-stats", "0"}, s.args...)...)
	cmd.Stdout, cmd.Stderr = file, file
	v := newServer(cmd)
	v.session = session
	if err := startOn(cmd, on, false); err != nil {
		session.Close()
		return nil, err
	}
	go func() {
		v.err = cmd.Wait()
		close(v.gone)
	}()
	go v.watch(&follow{file: file, until: v.gone})
	if err := v.await(); err != nil {
		session.Close() // which is closed already if the server had to be killed
		return nil, err
	}
	return v, nil
}

// follow reads a file that grows.
type follow struct {
	file  *os.File
	at    int64
	until <-chan struct{}
}

func (f *follow) Read(p []byte) (int, error) {
	for {
		n, err := f.file.ReadAt(p, f.at)
		f.at += int64(n)
		if n > 0 || err != io.EOF {
			return n, nil
		}
		select {
		case <-f.until:
			f.file.Close()
			return 0, io.EOF
		case <-time.After(5 * time.Millisecond):
		}
	}
}
