// Command gnet is an echo server on gnet, one event loop. It is what the bench compares
// with, in a module of its own so that the lab does not depend on gnet.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"
)

type echo struct {
	gnet.BuiltinEventEngine
}

// OnBoot is called when gnet listens.
func (*echo) OnBoot(e gnet.Engine) gnet.Action {
	addr, err := address(e)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(os.Stderr, "msg=listening addr=%s\n", addr)
	return gnet.None
}

// address is where e listens, which only its descriptor can tell if the kernel chose the port.
func address(e gnet.Engine) (net.Addr, error) {
	fd, err := e.Dup()
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.Addr(), nil
}

// OnTraffic is called when there is something to read.
func (*echo) OnTraffic(c gnet.Conn) gnet.Action {
	data, _ := c.Next(-1)
	c.Write(data)
	return gnet.None
}

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "listen on this `host:port`")
	flag.Parse()
	if err := gnet.Run(&echo{}, "tcp://"+*addr, gnet.WithTCPNoDelay(gnet.TCPNoDelay), gnet.WithReadBufferCap(64<<10)); err != nil {
		log.Fatal(err)
	}
}
