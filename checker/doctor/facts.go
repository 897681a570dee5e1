package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"iolab/checker/probe"
)

// Facts are what was found out about a machine. What a system does not tell, or does
// not have, is zero.
type Facts struct {
	OS, Arch string
	CPUs     int // that this process may use

	Go       string // version of the go command; "" if there is none that works
	GoWant   string // what go.mod asks for
	Tool     string // GOTOOLCHAIN
	Proxy    string // GOPROXY
	Missing  []string
	Progress string // why progress cannot be kept; "" if it can

	Kernel   string // release, such as 6.1.0-18-amd64; on Windows 10.0.22631
	Work     string // the clone's folder
	House    string // docker, podman, kubernetes, lxc, systemd-nspawn, gvisor, container, wsl1, wsl2 or ""
	Virtual  string // the hypervisor's name, if one shows
	Emulated bool   // an amd64 program on an arm64 machine

	Memory      int64   // bytes
	MemoryLimit int64   // of the cgroup, 0 for none
	CPULimit    float64 // processors that the cgroup may use, 0 for all
	Governor    string  // of the processors' frequency
	Clock       string  // clock source

	FilesSoft, FilesHard uint64            // limits on descriptors, as a program begins with them
	MemLock              uint64            // bytes that may be locked
	Sysctl               map[string]string // kernel settings that could be read
	Seccomp              bool              // a system call filter is on this process

	RingFeatures uint32 // of io_uring
	RingErr      error  // a [*probe.Missing] if there is no io_uring
	RingCan      []string
	RingCannot   []string

	Wine        string // path
	WineVersion string
	WSL         bool // Windows has the wsl command

	Tools map[string]string // paths of programs that the lessons use; "" for one that is not there

	Color   bool // the terminal understands it
	Unicode bool
	Console bool // there is a terminal at all
}

// common gathers what is the same everywhere.
func common(root string) Facts {
	f := Facts{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Work: root, Sysctl: map[string]string{}, Tools: map[string]string{}}
	cmd := exec.Command("go", "env", "GOVERSION", "GOTOOLCHAIN", "GOPROXY", "GOMODCACHE")
	cmd.Dir = root
	if out, err := cmd.Output(); err == nil {
		lines := strings.Split(strings.ReplaceAll(string(out), "\r\n", "\n"), "\n")
		lines = append(lines, "", "", "")
		f.Go, f.Tool, f.Proxy = lines[0], lines[1], lines[2]
		f.Missing = missingModules(root, lines[3])
	}
	mod, _ := os.ReadFile(filepath.Join(root, "go.mod"))
	f.GoWant, _ = parseMod(string(mod))
	f.Progress = keepsProgress(root)
	f.RingFeatures, f.RingErr = probe.IOUring()
	if f.RingErr == nil {
		f.RingCan, f.RingCannot = probe.RingFlags()
	}
	info, err := os.Stdout.Stat()
	f.Console = err == nil && info.Mode()&os.ModeCharDevice != 0
	f.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return f
}

// parseMod reads the version and the modules of a go.mod.
func parseMod(text string) (version string, modules [][2]string) {
	block := false
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "//")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "go":
			version = "go" + fields[1]
		case len(fields) == 2 && fields[0] == "require" && fields[1] == "(":
			block = true
		case len(fields) == 3 && fields[0] == "require":
			modules = append(modules, [2]string{fields[1], fields[2]})
		case len(fields) == 1 && fields[0] == ")":
			block = false
		case block && len(fields) == 2:
			modules = append(modules, [2]string{fields[0], fields[1]})
		}
	}
	return version, modules
}

// missingModules are those that the module cache does not have yet.
func missingModules(root, cache string) []string {
	if info, err := os.Stat(filepath.Join(root, "vendor")); err == nil && info.IsDir() || cache == "" {
		return nil
	}
	mod, _ := os.ReadFile(filepath.Join(root, "go.mod"))
	_, modules := parseMod(string(mod))
	var missing []string
	for _, m := range modules {
		if _, err := os.Stat(filepath.Join(cache, filepath.FromSlash(cached(m[0]))+"@"+m[1])); err != nil {
			missing = append(missing, m[0])
		}
	}
	return missing
}

// cached is a module's path as the module cache spells it: a capital X is !x.
func cached(path string) string {
	var b strings.Builder
	for _, r := range path {
		if 'A' <= r && r <= 'Z' {
			b.WriteByte('!')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// keepsProgress says why a file cannot be written in .iolab, or, if that is not there yet,
// beside it; "" if it can.
func keepsProgress(root string) string {
	dir := filepath.Join(root, ".iolab")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		dir = root
	}
	f, err := os.CreateTemp(dir, ".try-")
	if err != nil {
		return err.Error()
	}
	return errText(errors.Join(f.Close(), os.Remove(f.Name())))
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err)
}

// look finds the programs.
func (f *Facts) look(names ...string) {
	for _, name := range names {
		f.Tools[name], _ = exec.LookPath(name)
	}
}
