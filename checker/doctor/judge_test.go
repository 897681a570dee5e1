package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/checker/probe"
)

// aLinux is a machine on which all is well.
func aLinux() Facts {
	return Facts{OS: "linux", Arch: "amd64", CPUs: 8, Go: "go1.26.1", GoWant: "go1.26.0", Tool: "auto", Proxy: "https://proxy.golang.org,direct",
		Kernel: "6.8.0-40-generic", Work: "/home/me/iolab", Memory: 16 << 30, Governor: "performance", Clock: "tsc",
		FilesSoft: 1024, FilesHard: 1 << 20, MemLock: 8 << 20,
		Sysctl: map[string]string{"fs.nr_open": "1048576", "fs.file-max": "9223372036854775807", "net.core.somaxconn": "4096", "net.ipv4.tcp_max_syn_backlog": "4096",
			"net.ipv4.ip_local_port_range": "32768 60999", "net.ipv4.tcp_mem": "188805 251743 377610", "net.ipv4.tcp_rmem": "4096 131072 6291456", "net.ipv4.tcp_wmem": "4096 16384 4194304",
			"net.core.rmem_max": "212992", "net.core.wmem_max": "212992", "fs.inotify.max_user_watches": "124983", "kernel.yama.ptrace_scope": "0"},
		RingFeatures: 0x3fff, RingCan: []string{"R_DISABLED", "SUBMIT_ALL", "COOP_TASKRUN", "SINGLE_ISSUER", "DEFER_TASKRUN", "SQPOLL"},
		Wine: "/usr/bin/wine64", WineVersion: "wine-9.0", Tools: map[string]string{"ss": "/bin/ss", "strace": "/bin/strace", "perf": "/bin/perf", "nc": "/bin/nc"},
		Console: true, Color: true, Unicode: true}
}

func aMac() Facts {
	return Facts{OS: "darwin", Arch: "arm64", CPUs: 10, Go: "go1.26.1", GoWant: "go1.26.0", Kernel: "24.1.0", Memory: 16 << 30, FilesSoft: 256, FilesHard: 1<<63 - 1,
		Sysctl: map[string]string{"kern.maxfiles": "491520", "kern.maxfilesperproc": "245760", "kern.ipc.somaxconn": "1024", "net.inet.ip.portrange.first": "49152", "net.inet.ip.portrange.last": "65535"},
		Tools:  map[string]string{"lsof": "/usr/sbin/lsof", "netstat": "/usr/sbin/netstat", "nc": "/usr/bin/nc"}, Console: true, Color: true, Unicode: true}
}

func aPC() Facts {
	return Facts{OS: "windows", Arch: "amd64", CPUs: 8, Go: "go1.26.1", GoWant: "go1.26.0", Kernel: "10.0.22631", Memory: 16 << 30, WSL: true, Console: true, Color: true, Unicode: true}
}

// Nothing but ok and info on machines on which all is well.
func TestGoodMachines(t *testing.T) {
	for name, f := range map[string]Facts{"linux": aLinux(), "darwin": aMac(), "windows": aPC(),
		"freebsd": {OS: "freebsd", Arch: "amd64", CPUs: 4, Go: "go1.26.1", GoWant: "go1.26.0", Kernel: "14.1-RELEASE", Memory: 8 << 30, FilesSoft: 116000, FilesHard: 116000,
			Sysctl: map[string]string{"kern.maxfilesperproc": "116000", "kern.ipc.soacceptqueue": "1024", "net.inet.ip.portrange.first": "10000", "net.inet.ip.portrange.last": "65535"}, Tools: map[string]string{"nc": "/usr/bin/nc"}, Console: true, Color: true, Unicode: true}} {
		t.Run(name, func(t *testing.T) {
			names := map[string]bool{}
			for _, c := range Judge(f) {
				assert.Contains(t, []State{OK, Info}, c.State, "%+v", c)
				assert.NotEmpty(t, c.Value, c.Name)
				assert.False(t, names[c.Name], "%s twice", c.Name)
				names[c.Name] = true
			}
			for _, want := range map[string][]string{
				"linux":  {"system", "go", "modules", "progress", "kernel", "runs in", "processors", "memory", "clock", "descriptors", "accept queue", "ports", "TCP memory", "io_uring", "Wine", "watching", "inspect", "tools", "terminal"},
				"darwin": {"system", "go", "kernel", "runs in", "processors", "memory", "descriptors", "accept queue", "ports", "lessons", "tools", "terminal"}, "freebsd": {"descriptors", "accept queue", "ports", "lessons"},
				"windows": {"system", "go", "kernel", "processors", "memory", "handles", "ports", "lessons", "terminal"}}[name] {
				assert.True(t, names[want], "%s is missing from %v", want, names)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	for _, tc := range []struct {
		name   string
		from   Facts
		change func(f *Facts)
		check  string
		state  State
		says   string // in value, meaning or cure
	}{
		{"no Go", aLinux(), func(f *Facts) { f.Go = "" }, "go", Problem, "https://go.dev/dl/"},
		{"an old Go", aLinux(), func(f *Facts) { f.Go = "go1.24.3" }, "go", Problem, "GOTOOLCHAIN=auto"},
		{"a newer Go", aLinux(), func(f *Facts) { f.Go = "go1.31" }, "go", OK, "go1.31"},
		{"modules to fetch", aLinux(), func(f *Facts) { f.Missing = []string{"golang.org/x/sys"} }, "modules", Info, "go mod download"},
		{"modules, and no way to fetch them", aLinux(), func(f *Facts) { f.Missing, f.Proxy = []string{"golang.org/x/sys"}, "off" }, "modules", Problem, "GOPROXY=off"},
		{"read-only", aLinux(), func(f *Facts) { f.Progress = "read-only file system" }, "progress", Warning, "the map forgets"},

		{"CentOS 7", aLinux(), func(f *Facts) { f.Kernel = "3.10.0-1160.el7.x86_64" }, "kernel", Warning, "4.5"},
		{"Debian 10", aLinux(), func(f *Facts) { f.Kernel = "4.19.0-27-amd64" }, "kernel", Warning, "lesson 06 is not available"},
		{"Debian 11", aLinux(), func(f *Facts) { f.Kernel = "5.10.0-33-amd64" }, "kernel", Warning, "epoll_pwait2"},
		{"Ubuntu 22.04", aLinux(), func(f *Facts) { f.Kernel = "5.15.0-119-generic" }, "kernel", Warning, "6.1 has all it uses"},
		{"Debian 12", aLinux(), func(f *Facts) { f.Kernel = "6.1.0-25-amd64" }, "kernel", OK, "6.1.0"},
		{"no /proc", aLinux(), func(f *Facts) { f.Kernel = "" }, "kernel", Warning, "/proc is not mounted"},

		{"WSL 2", aLinux(), func(f *Facts) { f.House = "wsl2" }, "runs in", Info, "WSL 2"},
		{"WSL 2 on Windows's disk", aLinux(), func(f *Facts) { f.House, f.Work = "wsl2", "/mnt/c/Users/me/iolab" }, "runs in", Warning, "clone into your Linux home"},
		{"WSL 1", aLinux(), func(f *Facts) { f.House = "wsl1" }, "runs in", Warning, "wsl --set-version"},
		{"Docker", aLinux(), func(f *Facts) { f.House = "docker" }, "runs in", Info, "--ulimit"},
		{"a pod", aLinux(), func(f *Facts) { f.House = "kubernetes" }, "runs in", Info, "securityContext"},
		{"gVisor", aLinux(), func(f *Facts) { f.House = "gvisor" }, "runs in", Warning, "not Linux's"},
		{"a virtual machine", aLinux(), func(f *Facts) { f.Virtual = "KVM" }, "runs in", Info, "medians"},

		{"half a processor", aLinux(), func(f *Facts) { f.CPULimit = 0.5 }, "processors", Warning, "grants 0.5"},
		{"six of eight", aLinux(), func(f *Facts) { f.CPULimit = 6 }, "processors", OK, "grants 6"},
		{"one processor", aLinux(), func(f *Facts) { f.CPUs = 1 }, "processors", Info, "take turns"},
		{"powersave", aLinux(), func(f *Facts) { f.Governor = "powersave" }, "processors", OK, "cpupower"},
		{"a small container", aLinux(), func(f *Facts) { f.MemoryLimit = 512 << 20 }, "memory", Warning, "grants 512 MiB"},
		{"hpet", aLinux(), func(f *Facts) { f.Clock = "hpet" }, "clock", Warning, "clocksource=tsc"},

		{"few descriptors", aLinux(), func(f *Facts) { f.FilesHard = 4096 }, "descriptors", Warning, "--ulimit nofile"},
		{"nr_open below the limit", aLinux(), func(f *Facts) { f.Sysctl["fs.nr_open"] = "8192" }, "descriptors", Warning, "made smaller"},
		{"no limit", aLinux(), func(f *Facts) { f.FilesHard = probe.Unlimited }, "descriptors", OK, "hard unlimited"},
		{"a short queue", aLinux(), func(f *Facts) { f.Sysctl["net.core.somaxconn"] = "128" }, "accept queue", Warning, "sysctl -w net.core.somaxconn=4096"},
		{"a short queue in Docker", aLinux(), func(f *Facts) { f.House, f.Sysctl["net.core.somaxconn"] = "docker", "128" }, "accept queue", Warning, "docker run --sysctl"},
		{"a queue that is not told", aLinux(), func(f *Facts) { delete(f.Sysctl, "net.core.somaxconn") }, "accept queue", Info, "cannot be read"},
		{"few ports", aLinux(), func(f *Facts) { f.Sysctl["net.ipv4.ip_local_port_range"] = "50000 60000" }, "ports", Warning, "TIME_WAIT"},
		{"little TCP memory", aLinux(), func(f *Facts) { f.Sysctl["net.ipv4.tcp_mem"] = "1000 2000 3000" }, "TCP memory", Warning, "tcp_mem"},
		{"a small conntrack table", aLinux(), func(f *Facts) { f.Sysctl["net.netfilter.nf_conntrack_max"] = "8192" }, "conntrack", Warning, "dropped without a word"},

		{"io_uring forbidden", aLinux(), func(f *Facts) { f.RingErr = &probe.Missing{What: "io_uring", Why: "EPERM", Cure: "seccomp=unconfined"} }, "io_uring", Warning, "seccomp=unconfined"},
		{"io_uring forbidden in a pod", aLinux(), func(f *Facts) {
			f.House, f.Seccomp = "kubernetes", true
			f.RingErr = &probe.Missing{What: "io_uring", Why: "EPERM"}
		}, "io_uring", Warning, "seccompProfile"},
		{"io_uring fails otherwise", aLinux(), func(f *Facts) { f.RingErr = errors.New("out of rings") }, "io_uring", Warning, "out of rings"},
		{"an old io_uring", aLinux(), func(f *Facts) { f.RingFeatures, f.RingCan, f.RingCannot = 3, nil, []string{"DEFER_TASKRUN"} }, "io_uring", Info, "without FAST_POLL, EXT_ARG, NATIVE_WORKERS, DEFER_TASKRUN"},
		{"little memory to lock, old kernel", aLinux(), func(f *Facts) { f.MemLock, f.Kernel = 64<<10, "5.10.0" }, "io_uring", Warning, "ulimit -l"},
		{"little memory to lock, new kernel", aLinux(), func(f *Facts) { f.MemLock = 64 << 10 }, "io_uring", OK, "may lock 64 KiB"},
		{"no Wine", aLinux(), func(f *Facts) { f.Wine = "" }, "Wine", Info, "apt install wine64"},
		{"an old Wine", aLinux(), func(f *Facts) { f.WineVersion = "wine-6.0.3 (Ubuntu)" }, "Wine", Warning, "a newer Wine"},
		{"few watches", aLinux(), func(f *Facts) { f.Sysctl["fs.inotify.max_user_watches"] = "100" }, "watching", Info, "max_user_watches=524288"},
		{"yama", aLinux(), func(f *Facts) { f.Sysctl["kernel.yama.ptrace_scope"] = "1" }, "inspect", Info, "sudo"},
		{"no ss", aLinux(), func(f *Facts) { f.Tools["ss"] = "" }, "tools", Info, "apt install iproute2"},
		{"a pipe", aLinux(), func(f *Facts) { f.Console = false }, "terminal", Info, "without colours"},
		{"no Unicode", aLinux(), func(f *Facts) { f.Unicode = false }, "terminal", Info, "LANG=C.UTF-8"},

		{"Rosetta", aMac(), func(f *Facts) { f.Arch, f.Emulated = "amd64", true }, "system", Warning, "arm64"},
		{"macOS with the old queue", aMac(), func(f *Facts) { f.Sysctl["kern.ipc.somaxconn"] = "128" }, "accept queue", Warning, "sysctl kern.ipc.somaxconn=4096"},
		{"macOS with few files", aMac(), func(f *Facts) { f.Sysctl["kern.maxfilesperproc"] = "10240" }, "descriptors", Warning, "kern.maxfilesperproc"},
		{"macOS's lessons", aMac(), func(f *Facts) {}, "lessons", Info, "seccomp=unconfined"},
		{"macOS without nc", aMac(), func(f *Facts) { f.Tools["nc"] = "" }, "tools", Info, "not found: nc"},

		{"Windows 7", aPC(), func(f *Facts) { f.Kernel = "6.1.7601" }, "kernel", Problem, "Windows 10"},
		{"Windows without WSL", aPC(), func(f *Facts) { f.WSL = false }, "lessons", Info, "wsl --install"},
		{"Windows's ports", aPC(), func(f *Facts) {}, "ports", Info, "netsh"},
		{"the old console", aPC(), func(f *Facts) { f.Color, f.Unicode = false, false }, "terminal", Info, "Windows Terminal"},
		{"Wine", aPC(), func(f *Facts) { f.Virtual = "Wine" }, "runs in", Warning, "lesson 05"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := tc.from
			tc.change(&f)
			for _, c := range Judge(f) {
				if c.Name == tc.check {
					assert.Equal(t, tc.state, c.State, "%+v", c)
					assert.Contains(t, strings.Join([]string{c.Value, c.Means, c.Cure}, "\n"), tc.says)
					if c.State == Warning || c.State == Problem {
						assert.NotEmpty(t, c.Means+c.Cure)
					}
					return
				}
			}
			t.Fatalf("no check %q", tc.check)
		})
	}
}

func TestSettings(t *testing.T) {
	f := aLinux()
	f.Sysctl["net.core.somaxconn"] = "128"
	enough := map[string]bool{}
	for _, s := range Settings(f) {
		enough[s.Name] = s.Enough
		assert.NotEmpty(t, s.Does)
	}
	assert.Equal(t, map[string]bool{"fs.nr_open": true, "fs.file-max": true, "net.core.somaxconn": false, "net.ipv4.tcp_max_syn_backlog": true,
		"net.ipv4.ip_local_port_range": false, "net.ipv4.tcp_mem": false}, enough)
	assert.Empty(t, Settings(aMac()))
	assert.NotNil(t, Settings(aPC()), "JSON has a list, if an empty one")
}

func TestReadsGoMod(t *testing.T) {
	version, modules := parseMod("module iolab\n\ngo 1.26.0\n\nrequire (\n\ta.b/c v1.0.0\n\td.e/f v2.0.0 // indirect\n)\n\nrequire g.h/i v3.0.0 // indirect\n")
	assert.Equal(t, "go1.26.0", version)
	assert.Equal(t, [][2]string{{"a.b/c", "v1.0.0"}, {"d.e/f", "v2.0.0"}, {"g.h/i", "v3.0.0"}}, modules)
}

func TestTheCachesSpelling(t *testing.T) {
	assert.Equal(t, "github.com/!hdr!histogram/hdrhistogram-go", cached("github.com/HdrHistogram/hdrhistogram-go"))
	assert.Equal(t, "golang.org/x/sys", cached("golang.org/x/sys"))
}

// What this machine says is judged without a panic, and has its kernel.
func TestThisMachine(t *testing.T) {
	r := Examine("../..")
	require.NotEmpty(t, r.Checks)
	for _, c := range r.Checks {
		assert.NotEqual(t, Problem, c.State, "%+v", c)
		if c.Name == "kernel" {
			assert.NotEmpty(t, c.Value)
		}
	}
}

func TestTryingWhetherProgressCanBeKeptLeavesNothing(t *testing.T) {
	root := t.TempDir()
	left := func(dir string) []os.DirEntry {
		list, err := os.ReadDir(dir)
		require.NoError(t, err)
		return list
	}
	assert.Empty(t, keepsProgress(root))
	assert.Empty(t, left(root))
	dir := filepath.Join(root, ".iolab")
	require.NoError(t, os.Mkdir(dir, 0o755))
	assert.Empty(t, keepsProgress(root))
	assert.Empty(t, left(dir))
	require.NoError(t, os.Remove(dir))
	require.NoError(t, os.WriteFile(dir, nil, 0o644)) // in the way
	assert.NotEmpty(t, keepsProgress(root))
}
