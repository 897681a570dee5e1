//go:build unix && !linux

package sock

import "golang.org/x/sys/unix"

// Read reads into p what fd has received. It returns 0 at the end of data, and
// the bare errno: EAGAIN when there is nothing yet. p must not be empty.
func Read(fd int, p []byte) (int, error) { return retry(unix.Read, fd, p) }

// Write gives p to the kernel, which takes all of it, a part, or with EAGAIN
// nothing. p must not be empty.
func Write(fd int, p []byte) (int, error) { return retry(unix.Write, fd, p) }

func retry(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		if n, err := call(fd, p); err != unix.EINTR {
			return max(n, 0), err
		}
	}
}
