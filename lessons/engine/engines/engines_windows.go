package engines

import (
	selectloop "iolab/lessons/01-select"
	iocploop "iolab/lessons/05-iocp"
	selectsolution "iolab/solutions/01-select"
	iocpsolution "iolab/solutions/05-iocp"
)

// Default is the engine to use where none is named.
const Default = "iocp"

var here = []pair{
	{Engine{"select", 1, "native", "1 µs", as(selectloop.New)}, as(selectsolution.New)},
	{Engine{"iocp", 5, "native", "1 ms", as(iocploop.New)}, as(iocpsolution.New)},
}
