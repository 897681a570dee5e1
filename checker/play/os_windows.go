package play

import (
	"os"

	"golang.org/x/sys/windows"
)

const onWindows = true

// drawOn has the console take what is written for a terminal's sequences, which it does
// not by itself and before Windows 10 cannot at all. The mode belongs to the console and
// outlives the program, so restore puts it back.
func drawOn(out *os.File) (restore func(), err error) {
	console := windows.Handle(out.Fd())
	var before uint32
	if err := windows.GetConsoleMode(console, &before); err != nil {
		return nil, err
	}
	mode := before | windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING
	if err := windows.SetConsoleMode(console, mode); err != nil {
		return nil, err
	}
	return func() { windows.SetConsoleMode(console, before) }, nil
}
