package iocp_test

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/windows"

	"iolab/lessons/05-iocp/iocp"
)

// underWine tells whether this Windows is Wine.
func underWine() bool {
	return windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil
}

// The trap that x/sys sets: its calls do not make what they are given escape, so an
// OVERLAPPED that is a local variable lies on the goroutine's stack, and moves with it
// while the kernel has its old address. (If this test fails one day, the trap is gone.)
func TestAnOverlappedOnTheStackMoves(t *testing.T) {
	moved := make(chan bool)
	go func() { // on a stack that is small still
		var ov iocp.Overlapped
		_ = iocp.CancelIoEx(iocp.InvalidHandle, &ov) // or any other call
		before := uintptr(unsafe.Pointer(&ov))
		deep(1000)
		moved <- uintptr(unsafe.Pointer(&ov)) != before
	}()
	assert.True(t, <-moved)
}

// deep needs much stack.
//
//go:noinline
func deep(n int) (sum int) {
	var frame [64]int
	if n > 0 {
		frame[n%64] = deep(n - 1)
	}
	for _, x := range frame {
		sum += x
	}
	return sum + 1
}
