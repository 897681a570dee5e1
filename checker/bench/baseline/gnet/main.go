// Command gnet is an echo server on gnet, one event loop. It is what the bench compares
// with, in a module of its own so that the lab does not depend on gnet.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/panjf2000/gnet/v2"
)

type echo struct {
	gnet.BuiltinEventEngine
	addr string
}

// OnBoot is called when gnet listens.
func (e *echo) OnBoot(gnet.Engine) gnet.Action {
	fmt.Fprintf(os.Stderr, "msg=listening addr=%s\n", e.addr)
	return gnet.None
}

// OnTraffic is called when there is something to read.
func (*echo) OnTraffic(c gnet.Conn) gnet.Action {
	data, _ := c.Next(-1)
	c.Write(data)
	return gnet.None
}

func main() {
	addr := flag.String("addr", "127.0.0.1:7000", "listen on this `host:port`, with a port")
	flag.Parse()
	if err := gnet.Run(&echo{addr: *addr}, "tcp://"+*addr, gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithReadBufferCap(64<<10)); err != nil {
		log.Fatal(err)
	}
}
