// Package iocp is the part of Winsock and of I/O completion ports that lesson 05 uses,
// under the names, the types and the order of parameters of golang.org/x/sys/windows.
//
// On Windows each name is x/sys's own, or a thin forward to it; the calls that x/sys
// lacks are loaded from kernel32 and ws2_32. To move to production, import
// golang.org/x/sys/windows and copy those few.
//
// Elsewhere it is an emulation on non-blocking sockets. Operations go on by themselves
// while the program does other things, complete in the order that is documented, and
// complete when they fail or are cancelled, too. A [Handle] of a socket is its
// descriptor. What the emulation does not have fails with WSAEOPNOTSUPP.
//
// # The kernel's side of the bargain
//
// From the call that starts an operation to the moment its completion is dequeued, its
// OVERLAPPED and its buffers are the kernel's. Windows trusts you in that: who breaks it
// loses bytes, or the heap, some time later and somewhere else. The emulation looks. It
// holds on to neither, as the real kernel does not in the eyes of Go's garbage collector,
// and panics with a [Violation] that says which operation, and what was done to it:
//
//	overlapped-in-use    an OVERLAPPED was given to a second operation
//	overlapped-changed   the program wrote to an OVERLAPPED
//	overlapped-released  the garbage collector took an OVERLAPPED
//	buffer-changed       the program wrote to a buffer
//	buffer-released      the garbage collector took a buffer
//	buffer-shared        two receives were given the same memory
//	port-closed          a port was closed and completions were still to come
//
// The panic comes out of the call that breaks the rule if there is one, and else out of
// the next call that waits for completions.
package iocp

// Violation is a broken rule of the kernel's memory; see the package comment. On Windows
// nobody makes one.
type Violation struct {
	Rule   string // one of those in the package comment
	Detail string
}

// Error says what was done, and to which operation.
func (v *Violation) Error() string { return "iocp: " + v.Detail }

// Violated is the rule, for who does not know the type.
func (v *Violation) Violated() string { return v.Rule }
