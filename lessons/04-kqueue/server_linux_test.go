package kqueueloop_test

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"iolab/checker/labtest"
	"iolab/checker/probe"
	"iolab/lessons/engine"
)

// Tests that look at the knotes themselves: on Linux they are in the tables of the
// emulation's epoll instances.

func TestStep01_TheListenerHasAKnote(t *testing.T) {
	lab := labtest.Start(t, server, labtest.Paused())
	lab.Did("look for the listener's knote")
	for _, knote := range lab.EpollTable() {
		if fd := lab.Listener(); knote.FD == fd && knote.Events&unix.EPOLLIN != 0 {
			return
		}
	}
	lab.Fail(labtest.Failure{Symptom: labtest.CountLow, Suspect: "listener-not-watched",
		Problem: "the listener should have an enabled knote of EVFILT_READ, but has none"})
}

// closer closes each connection as soon as it is there, and lets the first one's
// descriptor be taken by something else.
type closer struct {
	lab   *labtest.Lab
	fd    int // the connection's, then the stranger's
	taken bool
}

func (k *closer) OnOpen(c engine.Conn) {
	fd, _ := probe.SocketByPeer(os.Getpid(), c.RemoteAddr())
	k.fd = fd.Num
	c.Close()
}

func (k *closer) OnData(engine.Conn, []byte) {}

func (k *closer) OnClose(engine.Conn, error) {
	fd, err := unix.FcntlInt(uintptr(k.lab.Listener()), unix.F_DUPFD_CLOEXEC, k.fd)
	k.taken = err == nil && fd == k.fd
	if err == nil && !k.taken {
		unix.Close(fd)
	}
}

func TestStep06_AChangeDoesNotComeTooLate(t *testing.T) {
	k := &closer{}
	lab := labtest.Start(t, server, labtest.Paused(), labtest.WithHandler(k))
	k.lab = lab
	lab.Did("the handler closes a connection in OnOpen; in OnClose it opens something else, which gets the same descriptor")
	lab.Dial()
	lab.TurnsUntil(labtest.Failure{Symptom: labtest.NoOnClose, Problem: "a connection closed in OnOpen should get its OnClose, but does not"},
		func(e engine.Engine) bool { return e.Stats().Accepts == 1 && e.ConnectionCount() == 0 })
	if !k.taken {
		lab.Unavailable("the descriptor was taken by somebody else")
	}
	defer unix.Close(k.fd)
	lab.Turn(0)
	lab.Did("look for a knote of that")
	for _, knote := range lab.EpollTable() {
		if knote.FD == k.fd && !knote.Ghost {
			lab.Fail(labtest.Failure{Symptom: labtest.WrongResult, Suspect: "change-after-close",
				Problem: fmt.Sprintf("nobody asked for descriptor %d to be watched, but there is a knote for it: a change meant for the connection that had it before", k.fd)})
		}
	}
}
