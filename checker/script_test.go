package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"iolab/checker/catalogue/scan"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"checker": main})
}

// TestScripts runs testdata/script against the small lab of testdata/lab.txtar.
// Beside testscript's own commands they have:
//
//	start CMD...        start a command whose keyboard and screen the script holds
//	expect REGEXP       wait until it appears on that screen, after what was seen
//	type [LINE]         press keys and Enter
//	finish STATUS       close the keyboard and wait for the end
//	interrupt           send Ctrl-C
//	appear FILE         wait until the file is there
//	noprocess           want no process of this script's lab to be left
func TestScripts(t *testing.T) {
	goEnv := func(name string) string {
		out, err := exec.Command("go", "env", name).Output()
		require.NoError(t, err)
		return strings.TrimSpace(string(out))
	}
	cache, modCache := goEnv("GOCACHE"), goEnv("GOMODCACHE")
	lab, err := txtar.ParseFile("testdata/lab.txtar")
	require.NoError(t, err)
	here, err := os.Getwd()
	require.NoError(t, err)

	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			root := filepath.Join(env.WorkDir, "lab")
			if err := writeLab(root, lab); err != nil {
				return err
			}
			env.Vars = append(env.Vars, "GOCACHE="+cache, "GOMODCACHE="+modCache, "GOFLAGS=-mod=mod", "GOPROXY=off",
				"IOLAB_ROOT="+root, "LAB="+root, "L="+filepath.Join(root, "lessons", "01-select"), "REPO="+filepath.Dir(here),
				"GIT_CONFIG_GLOBAL="+os.DevNull, "LANG=C")
			env.Values["screen"] = &screen{}
			env.Defer(func() { env.Values["screen"].(*screen).kill() })
			env.Cd = root
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"start":     start,
			"expect":    expect,
			"type":      typeKeys,
			"finish":    finish,
			"interrupt": interrupt,
			"appear":    appear,
			"noprocess": noProcess,
		},
	})
}

// writeLab writes the lab, its manifest, and a git history of one commit.
func writeLab(root string, lab *txtar.Archive) error {
	for _, f := range lab.Files {
		path := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		text := bytes.ReplaceAll(f.Data, []byte("\n>--"), []byte("\n--")) // an archive in the archive
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	manifest, err := scan.JSON(root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(root, "checker/catalogue"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "checker/catalogue/manifest.json"), manifest, 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=lab", "-c", "user.email=lab@localhost", "commit", "-q", "-m", "lab"}} {
		if err := exec.Command("git", append([]string{"-C", root}, args...)...).Run(); err != nil {
			return err
		}
	}
	return nil
}

// screen is a command under the script's hands.
type screen struct {
	cmd  *exec.Cmd
	keys io.WriteCloser

	mu   sync.Mutex
	text strings.Builder
	seen int
	gone chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		<-s.gone
	}
}

// find looks for re in what has not been seen yet.
func (s *screen) find(re *regexp.Regexp) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := re.FindStringIndex(s.text.String()[s.seen:])
	if at == nil {
		return false
	}
	s.seen += at[1]
	return true
}

func (s *screen) unseen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()[s.seen:]
}

func start(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("screen").(*screen)
	var path string
	var err error
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path, err = exec.LookPath(filepath.Join(dir, args[0])); err == nil {
			break
		}
	}
	ts.Check(err)
	s.cmd = exec.Command(path, args[1:]...)
	s.cmd.Dir, s.cmd.Env = ts.MkAbs("."), scriptEnv(ts)
	s.cmd.Stdout, s.cmd.Stderr = s, s
	s.keys, err = s.cmd.StdinPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	s.gone = make(chan struct{})
	go func() {
		s.cmd.Wait()
		close(s.gone)
	}()
}

func scriptEnv(ts *testscript.TestScript) []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCACHE", "GOMODCACHE", "GOFLAGS", "GOPROXY", "IOLAB_ROOT", "LANG"} {
		env = append(env, name+"="+ts.Getenv(name))
	}
	return env
}

func expect(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("screen").(*screen)
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	begin := time.Now()
	for !s.find(re) {
		select {
		case <-s.gone:
			if s.find(re) {
				return
			}
			ts.Fatalf("the command ended without showing %q:\n%s", args[0], s.unseen())
		case <-time.After(10 * time.Millisecond):
		}
		if time.Since(begin) > 60*time.Second {
			ts.Fatalf("the screen does not show %q, but:\n%s", args[0], s.unseen())
		}
	}
	ts.Logf("shown after %.2f s", time.Since(begin).Seconds())
}

func typeKeys(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("screen").(*screen)
	_, err := io.WriteString(s.keys, strings.Join(args, " ")+"\n")
	ts.Check(err)
}

func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Value("screen").(*screen).cmd.Process.Signal(os.Interrupt))
}

func finish(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value("screen").(*screen)
	s.keys.Close()
	select {
	case <-s.gone:
	case <-time.After(30 * time.Second):
		ts.Fatalf("the command does not end:\n%s", s.unseen())
	}
	got := s.cmd.ProcessState.ExitCode()
	if want := args[0]; want != strconv.Itoa(got) {
		ts.Fatalf("exit status should be %s, but is %d:\n%s", want, got, s.text.String())
	}
	s.cmd = nil
}

func appear(ts *testscript.TestScript, neg bool, args []string) {
	for range 3000 {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s does not appear", args[0])
}

func noProcess(ts *testscript.TestScript, neg bool, args []string) {
	if runtime.GOOS != "linux" {
		return
	}
	work := ts.Getenv("WORK")
	var left []string
	for range 50 {
		left = nil
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, f := range files {
			text, _ := os.ReadFile(f)
			if strings.Contains(string(text), work) {
				left = append(left, f+": "+strings.ReplaceAll(string(text), "\x00", " "))
			}
		}
		if left == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("left behind:\n%s", strings.Join(left, "\n"))
}
