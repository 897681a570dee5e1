// Command server is an echo server on select.
package main

import (
	"iolab/lessons/engine/serve"
	selectloop "iolab/solutions/01-select"
)

func main() { serve.Main(selectloop.New) }
