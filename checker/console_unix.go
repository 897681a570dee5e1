//go:build unix

package main

import "os"

// colorConsole does nothing: Unix's terminals understand colours, or say in TERM that they
// do not.
func colorConsole(*os.File) bool { return true }

func restoreConsole() {}
