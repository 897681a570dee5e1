//go:build linux && !amd64 && !arm64

package probe

var oldSyscallNames map[int]string
