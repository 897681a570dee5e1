// Package sys has the socket calls and select under the names of
// golang.org/x/sys/unix, on every system that lesson 01 runs on.
//
// On Linux, macOS and the BSDs it forwards and does nothing else. On Windows the same
// names stand for Winsock's calls: descriptors are socket handles, and FdSet is an
// array of them (see its comment there).
//
// Calls do not retry: a signal makes them return EINTR (except on Windows, which has
// none). Errors are bare error numbers, to be compared with ==.
package sys

import "net/netip"

// Fits tells whether descriptor fd can be put into a set that has members descriptors in
// it already (of all kinds: listener, wake pair, connections). A bitmap has room for descriptors below FD_SETSIZE, however few there are;
// Winsock's array has room for FD_SETSIZE handles, however high they are.
func Fits(fd, members int) bool { return fits(fd, members) }

// Accept takes the next connection from fd's accept queue, non-blocking and
// close-on-exec. It returns EAGAIN when the queue is empty.
func Accept(fd int) (conn int, peer netip.AddrPort, err error) { return accept(fd) }

// WakePair returns two connected descriptors, non-blocking and close-on-exec: r is
// readable once something has been written to w. It is a pipe, on Windows, where
// select takes sockets only, a pair of UDP sockets.
func WakePair() (r, w int, err error) { return wakePair() }
