package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"iolab/checker/probe"
	lab "iolab/checker/wine"
)

func system() []Check {
	return []Check{kernel(), house(), files(), somaxconn(), ioUring(), wine(), ss()}
}

func read(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

func kernel() Check {
	release := read("/proc/sys/kernel/osrelease")
	major, rest, _ := strings.Cut(release, ".")
	minor, _, _ := strings.Cut(rest, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(strings.TrimFunc(minor, func(r rune) bool { return r < '0' || r > '9' }))
	c := Check{Name: "kernel", State: OK, Value: "Linux " + release}
	switch {
	case a < 4 || a == 4 && b < 5:
		c.State, c.Cure = Warning, "lessons 01 to 03 want 4.5 or newer"
	case a < 6:
		c.State, c.Cure = Warning, "lesson 06 leaves out what this kernel's io_uring does not have; 6.0 has all it uses"
	}
	return c
}

// house says what the lab runs in: a container or WSL often explains the rest.
func house() Check {
	c := Check{Name: "runs in", State: Info, Value: "no container or virtual Linux that shows"}
	release := strings.ToLower(read("/proc/sys/kernel/osrelease"))
	switch {
	case strings.Contains(release, "microsoft") && strings.Contains(release, "wsl2"):
		c.Value = "WSL 2"
		if dir, _ := os.Getwd(); strings.HasPrefix(dir, "/mnt/") {
			c.State, c.Cure = Warning, "files under /mnt are slow and send no notifications; clone into your Linux home"
		}
	case strings.Contains(release, "microsoft"):
		c.State, c.Value, c.Cure = Warning, "WSL 1, which has no Linux kernel", "wsl --set-version DISTRIBUTION 2"
	case exists("/.dockerenv"):
		c.Value = "a Docker container"
	case exists("/run/.containerenv"):
		c.Value = "a Podman container"
	case strings.Contains(read("/proc/1/cgroup"), "kubepods"), os.Getenv("KUBERNETES_SERVICE_HOST") != "":
		c.Value = "a Kubernetes pod"
	case strings.Contains(release, "gvisor"), strings.Contains(read("/proc/version"), "gVisor"):
		c.State, c.Value, c.Cure = Warning, "gVisor", "its network stack is not Linux's: expect differences"
	case os.Getenv("container") != "":
		c.Value = "a container (" + os.Getenv("container") + ")"
	}
	return c
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func files() Check {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return Check{"descriptors", Warning, err.Error(), ""}
	}
	c := Check{Name: "descriptors", State: OK, Value: fmt.Sprintf("soft %s, hard %d", softFiles(l.Cur), l.Max)}
	if l.Max < 20000 {
		c.State = Warning
		c.Cure = "crowds of 10,000 clients will be made smaller; raise the hard limit: ulimit -Hn 65536 as root, LimitNOFILE= in systemd, --ulimit nofile=65536 for docker run"
	}
	return c
}

func somaxconn() Check {
	text := read("/proc/sys/net/core/somaxconn")
	c := Check{Name: "accept queue", State: OK, Value: "net.core.somaxconn = " + text}
	if n, err := strconv.Atoi(text); err != nil {
		c.State, c.Value = Info, "net.core.somaxconn cannot be read"
	} else if n < 1024 {
		c.State, c.Cure = Warning, "bursts of clients may have to connect twice: sysctl -w net.core.somaxconn=4096"
	}
	return c
}

func ioUring() Check {
	features, err := probe.IOUring()
	var missing *probe.Missing
	if errors.As(err, &missing) {
		return Check{"io_uring", Warning, missing.Why, missing.Cure}
	}
	return Check{Name: "io_uring", State: OK, Value: fmt.Sprintf("works (features %#x)", features)}
}

func wine() Check {
	if path := lab.Find(); path != "" {
		return Check{"Wine", OK, path + ": go run ./checker run -wine 05", ""}
	}
	return Check{"Wine", Info, "not found",
		"lesson 05 has an emulation; to run the real Windows code too: apt install wine64"}
}

func ss() Check {
	if path := found("ss"); path != "" {
		return Check{"ss", OK, path, ""}
	}
	return Check{"ss", Info, "not found", "the lessons look at sockets with it: apt install iproute2"}
}

// found is the path of the first of the programs that is there.
func found(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
