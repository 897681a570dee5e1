package labtest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A crowd is many clients in a process of their own: client and server ends in one
// process would share its descriptor limit, and the servers' descriptors would not
// be the low numbers that a server alone gets. The process is this test's binary
// again, told by its environment to be a crowd.

func init() {
	if spec := os.Getenv("IOLAB_CROWD"); spec != "" {
		if err := crowdMain(spec); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// Crowd is a process of clients.
type Crowd struct {
	l   *Lab
	n   int
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// Crowd connects n clients from a process of their own.
func (l *Lab) Crowd(n int) *Crowd {
	l.t.Helper()
	l.Did("%d clients connect, from a process of their own", n)
	l.crowds = true
	if limit := fileLimit(); limit < uint64(n)+64 {
		l.Unavailable("this needs %d descriptors and the limit is %d: raise it (ulimit -n %d) and run again", n+64, limit, n+64)
	}
	exe, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	c := &Crowd{l: l, n: n, cmd: exec.Command(exe)}
	c.cmd.Env = append(os.Environ(), "IOLAB_CROWD="+l.Addr()+","+strconv.Itoa(n))
	c.in, err = c.cmd.StdinPipe()
	if err == nil {
		var out io.Reader
		if out, err = c.cmd.StdoutPipe(); err == nil {
			c.out = bufio.NewScanner(out)
			err = c.cmd.Start()
		}
	}
	if err != nil {
		l.t.Fatal("the crowd cannot start: ", err)
	}
	l.t.Cleanup(c.Leave)
	c.await(CountLow)
	return c
}

// Echo has every client send n bytes and read them back, all at the same time.
func (c *Crowd) Echo(n int) {
	c.l.t.Helper()
	c.l.Did("each of the %d clients sends %s and reads them back", c.n, count(n))
	fmt.Fprintln(c.in, n)
	c.await(NoData)
}

// Leave ends the process, and so closes all its connections.
func (c *Crowd) Leave() {
	if c.cmd == nil {
		return
	}
	c.in.Close()
	c.cmd.Process.Kill()
	c.cmd.Wait()
	c.cmd = nil
}

// await waits for the crowd's word that what it was asked for is done. The crowd
// has a Patience of its own.
func (c *Crowd) await(s Symptom) {
	c.l.t.Helper()
	word := make(chan string, 1)
	go func() {
		c.out.Scan()
		word <- c.out.Text()
	}()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * Patience)
	for {
		select {
		case w := <-word:
			if w != "ok" {
				c.l.healthy()
				c.l.Got("%s", w)
				c.l.Fail(Failure{Symptom: s, Problem: fmt.Sprintf("each of %d clients should be served, but one got: %s", c.n, strings.TrimPrefix(w, "error: "))})
			}
			return
		case <-tick.C:
			if c.l.loopDead() {
				c.l.healthy()
			}
		case <-deadline:
			c.l.Fail(Failure{Symptom: s, Problem: fmt.Sprintf("each of %d clients should be served, but they do not come to an end", c.n)})
		}
	}
}

// crowdMain is the other process: it connects, and for each line with a number on
// its input has every client send and read back as many bytes.
func crowdMain(spec string) error {
	addr, num, _ := strings.Cut(spec, ",")
	n, err := strconv.Atoi(num)
	if err != nil {
		return err
	}
	conns, err := connect(addr, n)
	if err != nil {
		return err
	}
	fmt.Println("ok")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		size, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		for i, c := range conns {
			c.SetDeadline(time.Now().Add(2 * Patience))
			if _, err := c.Write(Pattern(i, size)); err != nil {
				return fmt.Errorf("client %d sends: %w", i+1, err)
			}
		}
		buf := make([]byte, size)
		for i, c := range conns {
			c.SetDeadline(time.Now().Add(2 * Patience))
			if n, err := io.ReadFull(c, buf); err != nil {
				return fmt.Errorf("client %d reads %d of %d bytes: %w", i+1, n, size, err)
			}
			if !bytes.Equal(buf, Pattern(i, size)) {
				return fmt.Errorf("client %d reads other bytes than it sent", i+1)
			}
		}
		fmt.Println("ok")
	}
	return nil
}

// connect connects n clients, as fast as it can: to a server they come as a burst.
func connect(addr string, n int) ([]net.Conn, error) {
	conns, errs := make([]net.Conn, n), make([]error, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				// A full accept queue costs a client a second or three before it tries again.
				if conns[i], errs[i] = net.DialTimeout("tcp", addr, 4*Patience); errs[i] != nil {
					errs[i] = fmt.Errorf("client %d: %w", i+1, errs[i])
				}
			}
		})
	}
	wg.Wait()
	return conns, errors.Join(errs...)
}
