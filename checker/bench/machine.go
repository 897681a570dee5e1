package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is where and on what a result was measured.
type Machine struct {
	Host   string `json:"host"`
	OS     string `json:"os"`
	Kernel string `json:"kernel,omitempty"`
	CPU    string `json:"cpu,omitempty"`
	Cores  int    `json:"cores"`
	Go     string `json:"go"`
	Commit string `json:"commit,omitempty"` // of the lab, with "+" if files have changed since
}

// ThisMachine describes this machine and the lab in root.
func ThisMachine(root string) Machine {
	m := Machine{OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	m.Host, _ = os.Hostname()
	m.Kernel, m.CPU = kernelAndCPU()
	if out, err := exec.Command("git", "-C", root, "rev-parse", "--short=10", "HEAD").Output(); err == nil {
		m.Commit = strings.TrimSpace(string(out))
		if out, err := exec.Command("git", "-C", root, "status", "--porcelain").Output(); err == nil && len(out) > 0 {
			m.Commit += "+"
		}
	}
	return m
}

// String describes the machine in one line.
func (m Machine) String() string {
	words := []string{m.Host, m.OS}
	if m.Kernel != "" {
		words = append(words, "kernel "+m.Kernel)
	}
	if m.CPU != "" {
		words = append(words, m.CPU)
	}
	words = append(words, m.Go)
	if m.Commit != "" {
		words = append(words, "lab "+m.Commit)
	}
	return strings.Join(words, ", ")
}

// Short is what a figure says of the machine.
func (m Machine) Short() string {
	words := []string{m.OS}
	if m.Kernel != "" {
		words = append(words, "kernel "+m.Kernel)
	}
	if m.CPU != "" {
		words = append(words, m.CPU)
	}
	return strings.Join(append(words, plural(m.Cores, "processor", "processors")), ", ")
}

// othersRunning is how many threads run or want to, this one aside: the mean of some looks,
// 0 if unknown. (The load average is that of the last minute, in which the bench itself may
// have built or measured.)
func othersRunning() float64 {
	const looks = 20
	sum := 0
	for range looks {
		text, _ := os.ReadFile("/proc/loadavg") // 0.20 0.18 0.12 1/80 11206
		if fields := strings.Fields(string(text)); len(fields) > 3 {
			running, _, _ := strings.Cut(fields[3], "/")
			n, _ := strconv.Atoi(running)
			sum += max(n-1, 0)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return float64(sum) / looks
}

// fileName is s with nothing that a file's name may not have.
func fileName(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '+':
			return r
		}
		return '-'
	}, filepath.Base(s))
}

// kernelAndCPU asks the system what it is.
func kernelAndCPU() (kernel, cpu string) {
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(text))
	} else if out, err := exec.Command("uname", "-r").Output(); err == nil {
		kernel = strings.TrimSpace(string(out))
	}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return kernel, strings.TrimSpace(value)
			}
		}
	} else if out, err := exec.Command("sysctl", "-n", "machdep.cpu.brand_string").Output(); err == nil {
		cpu = strings.TrimSpace(string(out))
	}
	return kernel, cpu
}
