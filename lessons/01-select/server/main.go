// Command server is an echo server on select.
package main

import (
	selectloop "iolab/lessons/01-select"
	"iolab/lessons/engine/serve"
)

func main() { serve.Main(selectloop.New) }
