//go:build linux || darwin || freebsd || openbsd || dragonfly

// Command udata puts a number into the udata of a change, as one would in C, and is ended
// by the Go runtime for it. See the lesson, "What udata is for".
package main

import (
	"fmt"
	"unsafe"

	"iolab/lessons/04-kqueue/kqueue"
)

func main() {
	done := make(chan int)
	go func() {
		var change kqueue.Kevent_t
		// The field is a *byte in Go. Its memory is change's, which lives as long as this
		// function; what is written there is no pointer, and that is the mistake.
		*(*uintptr)(unsafe.Pointer(&change.Udata)) = 7 // "our connection number"
		n := deep(100)                                 // the stack grows, so it is moved, and its pointers are adjusted
		use(&change)
		done <- n
	}()
	fmt.Println("nobody noticed:", <-done)
}

//go:noinline
func deep(n int) int {
	var frame [1024]byte
	if n == 0 {
		return int(frame[0])
	}
	return deep(n-1) + int(frame[n])
}

//go:noinline
func use(*kqueue.Kevent_t) {}
