package sock

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// ListenShared is [Listen] on a port that several sockets share, each opened with
// ListenShared by the same user: the kernel deals new connections out among them
// (socket(7), SO_REUSEPORT). Only Linux deals; elsewhere the option has another
// meaning.
func ListenShared(addr netip.AddrPort, backlog int) (fd int, bound netip.AddrPort, err error) {
	return listen(addr, backlog, unix.SO_REUSEADDR, unix.SO_REUSEPORT)
}
