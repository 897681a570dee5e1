package main

import (
	"os"
	"syscall"
)

// Of the console's output modes. The syscall package has not all it takes, and
// golang.org/x/sys would be compiled before every map.
const (
	enableProcessedOutput           = 1
	enableVirtualTerminalProcessing = 4
)

var setConsoleMode = syscall.NewLazyDLL("kernel32.dll").NewProc("SetConsoleMode")

// consoleWas are the modes that colorConsole has changed: they belong to the console and
// outlive the program.
var consoleWas = map[uintptr]uint32{}

// colorConsole has the console f understand colours, and says whether it does: by itself
// none does, and before Windows 10 none can. Called on the main goroutine.
func colorConsole(f *os.File) bool {
	var before uint32
	if syscall.GetConsoleMode(syscall.Handle(f.Fd()), &before) != nil {
		return false // NUL, or another device that is no console
	}
	mode := before | enableProcessedOutput | enableVirtualTerminalProcessing
	if mode == before {
		return true
	}
	if ok, _, _ := setConsoleMode.Call(f.Fd(), uintptr(mode)); ok == 0 {
		return false
	}
	consoleWas[f.Fd()] = before
	return true
}

// restoreConsole undoes colorConsole.
func restoreConsole() {
	for fd, mode := range consoleWas {
		setConsoleMode.Call(fd, uintptr(mode))
	}
}
