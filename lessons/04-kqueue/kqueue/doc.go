// Package kqueue is kqueue(2) and kevent(2) under the names of golang.org/x/sys/unix:
// a program that uses it moves to macOS or a BSD by changing an import.
//
// On macOS, FreeBSD, NetBSD, OpenBSD and DragonFly the names are x/sys's own: type
// aliases, constants, and functions that do nothing but call. On Linux they are an
// emulation on epoll(7), timerfd and eventfd, with the constants of FreeBSD, so that a
// program written against the manual page can be run and tested there. What is true of
// one and not of all is said at the constant concerned.
//
// # Two things that x/sys leaves open
//
// Kevent_t.Udata is a *byte on most systems and an integer on NetBSD. The kernel keeps
// the number and hands it back. It does not keep a Go object alive, since the garbage
// collector cannot see into the kernel; and an integer that is put there by force is no
// pointer, for which the runtime ends the program when it comes across it on a stack.
// Leave it nil, and find what an event is about by Ident and Filter.
//
// A queue is closed with [Close]. On the BSDs that is close(2).
//
// # What the emulation does not cover
//
// Asking for one of these is an error that says so, [ErrNotCovered]:
//
//   - EVFILT_VNODE, EVFILT_PROC, EVFILT_SIGNAL, EVFILT_AIO and EVFILT_FS, and what single
//     systems have beside them. A SIGNAL filter would need the signal blocked in every
//     thread, which a Go program's runtime does not allow.
//   - EVFILT_READ and EVFILT_WRITE on a regular file or a folder: epoll watches none.
//   - Timers that end at an instant of the calendar (NOTE_ABSTIME, NOTE_ABSOLUTE) and
//     NOTE_CRITICAL, NOTE_BACKGROUND, NOTE_LEEWAY.
//   - Flags of a single system, such as EV_UDATA_SPECIFIC, EV_KEEPUDATA and
//     EV_FORCEONESHOT; and Kevent_t.Ext.
//
// And these differ, without an error:
//
//   - fflags with EV_EOF is the socket's error, and Linux has no way to look at that
//     without taking it from the next read. The emulation infers it: ECONNREFUSED for a
//     connect that failed, ECONNRESET for a connection that was. The read or write that
//     follows gives the true one.
//   - A socket that is neither connected nor listening is reported with EV_EOF (epoll's
//     EPOLLHUP); the BSDs report nothing.
//   - The space in a socket's send buffer, data of EVFILT_WRITE, is what the kernel
//     accounts for, packets' overhead included: less than a program could write. And a
//     socket becomes writable when a third of that is free, not at SO_SNDLOWAT.
//   - When a descriptor is closed and a duplicate of it stays open, EV_CLEAR knotes of others
//     may be reported once more than they should be.
//   - A queue is three more descriptors, which [Close] closes with it. After a bare
//     close(2) of the queue they stay until its number is a queue again.
//   - A queue that is closed while somebody waits on it: the wait ends with EBADF, which
//     the manuals do not promise.
//   - A child of fork(2) and exec(3) does not get the queue (it is close-on-exec); on the
//     BSDs a child never does.
package kqueue

import "errors"

// ErrNotCovered is the error of a call of Kevent that asks for what the emulation on
// Linux does not have; it comes wrapped in a sentence that says what. Elsewhere nothing
// returns it.
var ErrNotCovered = errors.New("not covered by the emulation of kqueue on Linux")
