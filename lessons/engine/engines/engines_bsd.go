//go:build darwin || freebsd || netbsd || openbsd || dragonfly

package engines

import (
	selectloop "iolab/lessons/01-select"
	kqueueloop "iolab/lessons/04-kqueue"
	selectsolution "iolab/solutions/01-select"
	kqueuesolution "iolab/solutions/04-kqueue"
)

// Default is the engine to use where none is named.
const Default = "kqueue"

var here = []pair{
	{Engine{"select", 1, "native", "1 µs", as(selectloop.New)}, as(selectsolution.New)},
	{Engine{"kqueue", 4, "native", "1 ns", as(kqueueloop.New)}, as(kqueuesolution.New)},
}
