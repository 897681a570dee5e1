package inspect

import (
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"iolab/checker/probe"
)

// looks is how often a process is looked at, if that is quick.
const looks = 5

// Inspect looks at process pid for d and reports. It fails with a sentence if there is
// no such process, or it may not be looked at, or it ends meanwhile.
func Inspect(ctx context.Context, pid int, d time.Duration) (Report, error) {
	s, err := subject(pid)
	if err != nil {
		return Report{}, err
	}
	p := &process{pid: s.PID, protocols: map[uint64]string{}, dead: map[uint64]bool{}}
	var seen []Look
	var begin time.Time
	for {
		l, err := p.look()
		if err != nil {
			return Report{}, explain(s.PID, s.Name, err)
		}
		if seen = append(seen, l); len(seen) == 1 {
			begin = l.At
		}
		now := time.Now()
		if len(seen) >= 2 && now.Sub(begin) >= d {
			break
		}
		// A large process takes long to look at: then less often, but always at the end.
		next := begin.Add(d * time.Duration(len(seen)) / (looks - 1))
		if next.Before(now) {
			next = begin.Add(d)
		}
		select {
		case <-ctx.Done():
			return Report{}, ctx.Err()
		case <-time.After(time.Until(next)):
		}
	}
	if p.large {
		s.Notes = append(s.Notes, "it has more than 100,000 descriptors: interest lists and sockets may have changed while they were read")
	}
	if p.unread != nil {
		s.Notes = append(s.Notes, fmt.Sprintf("not every interest list could be read, so what is watched is not known: %v", p.unread))
	}
	return Sum(s, seen), nil
}

// subject finds out whether pid can be looked at, and what does not change.
func subject(pid int) (Subject, error) {
	info, err := probe.Look(pid)
	if err != nil {
		return Subject{}, explain(pid, "", err)
	}
	s := Subject{PID: pid, Name: info.Name, Command: info.Command}
	if info.Group != 0 && info.Group != pid {
		s.Notes = append(s.Notes, fmt.Sprintf("%d is a thread of process %d; this is the whole process", pid, info.Group))
		if info, err = probe.Look(info.Group); err != nil {
			return s, explain(pid, s.Name, err)
		}
		s.PID, s.Name, s.Command = info.PID, info.Name, info.Command
	}
	switch {
	case info.Kernel:
		return s, fmt.Errorf("%d (%s) is a thread of the kernel's own: it has no descriptors", pid, info.Name)
	case info.State == "Z":
		return s, fmt.Errorf("%d (%s) has ended; it is kept (a zombie) until its parent asks for its exit status", pid, info.Name)
	}
	proc := fmt.Sprintf("/proc/%d/", s.PID)
	if _, err := os.ReadDir(proc + "fd"); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return s, forbidden(s.PID, info)
		}
		return s, explain(s.PID, s.Name, err)
	}
	s.Program, _ = os.Readlink(proc + "exe")
	if _, err := buildinfo.ReadFile(proc + "exe"); err == nil {
		s.Go = true
	}
	if s.Soft, s.Hard, err = probe.FileLimits(s.PID); err != nil {
		return s, explain(s.PID, s.Name, err)
	}
	text, _ := os.ReadFile("/proc/sys/fs/nr_open")
	s.NrOpen, _ = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if !probe.SameNetwork(s.PID) {
		s.Notes = append(s.Notes, fmt.Sprintf("it lives in another network namespace, whose sockets are read from /proc/%d/net: without backlogs and without counters of bytes; nsenter -t %d -n with this command tells more", s.PID, s.PID))
	}
	if info.State == "T" || info.State == "t" {
		s.Notes = append(s.Notes, "it is stopped (SIGSTOP, or a debugger holds it): kill -CONT lets it go on")
	}
	return s, nil
}

// forbidden is the sentence for a process that is another's.
func forbidden(pid int, info probe.Process) error {
	owner := strconv.Itoa(info.User)
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	if info.User == os.Geteuid() {
		return fmt.Errorf("%d (%s) is yours but protected (it has changed its user, or is not dumpable): only root may look at its descriptors, with sudo", pid, info.Name)
	}
	who := owner + " and root"
	if info.User == 0 {
		who = "root"
	}
	return fmt.Errorf("%d (%s) belongs to %s: only %s may look at its descriptors, so use sudo", pid, info.Name, owner, who)
}

// explain makes a sentence of what went wrong when /proc was read.
func explain(pid int, name string, err error) error {
	if name != "" {
		name = " (" + name + ")"
	}
	switch {
	case (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)) && name != "":
		return fmt.Errorf("%d%s ended while it was looked at", pid, name)
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat("/proc/self/status"); err != nil {
			return errors.New("/proc is not mounted here, and everything is read from there")
		}
		return fmt.Errorf("there is no process %d (or it is another user's, and /proc hides those)", pid)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%d%s may not be looked at any more: %w", pid, name, err)
	}
	return fmt.Errorf("%d%s: %w", pid, name, err)
}

// process is what is remembered from look to look.
type process struct {
	pid       int
	protocols map[uint64]string // of sockets that are in no table, by inode
	dead      map[uint64]bool   // TCP sockets that have no connection
	large     bool
	unread    error // why an interest list could not be read
}

func (p *process) look() (Look, error) {
	l := Look{Pending: map[int]uint64{}, Large: map[int]int64{}}
	var err error
	if l.FDs, err = probe.OpenFiles(p.pid); err != nil {
		return l, err
	}
	p.large = len(l.FDs) > 100_000
	if err := p.sockets(&l); err != nil {
		return l, err
	}
	p.lists(&l)
	if l.Rings, err = probe.Rings(p.pid); err != nil {
		return l, err
	}
	if err := p.threads(&l); err != nil {
		return l, err
	}
	if l.RSS, err = probe.RSS(p.pid); err != nil {
		return l, err
	}
	l.Overflows, l.Drops, _ = probe.ListenCounters(p.pid)
	if info, err := probe.Look(p.pid); err != nil {
		return l, err
	} else if info.State == "Z" || info.State == "X" {
		return l, fs.ErrNotExist
	}
	return l, nil
}

// sockets finds the process's own TCP sockets, and the clients that wait for its
// listeners.
func (p *process) sockets(l *Look) error {
	own := map[uint64]bool{}
	for _, fd := range l.FDs {
		if n := inode(fd); n != 0 {
			own[n] = true
		}
	}
	list, err := probe.Sockets(p.pid, own, false)
	if err != nil {
		return err
	}
	if !p.found(l, list) {
		if list, err = probe.Sockets(p.pid, own, true); err != nil {
			return err
		}
		p.found(l, list)
	}
	// Without a connection, or closed since it was listed: with clients that come and go
	// that is the likelier.
	l.FDs = slices.DeleteFunc(l.FDs, func(fd probe.FD) bool {
		if fd.Kind != "tcp" || fd.State != "" {
			return false
		}
		gone := p.closed(fd)
		if !gone {
			p.dead[inode(fd)] = true
		}
		l.Changed = l.Changed || gone
		return gone
	})
	return nil
}

// found enters list into l. It is false if a TCP socket is not in list and was not
// known to be without a connection.
func (p *process) found(l *Look, list []probe.Socket) bool {
	l.Sockets, l.Waiting = map[uint64]probe.Socket{}, nil
	for _, s := range list {
		switch {
		case s.Inode != 0:
			l.Sockets[s.Inode] = s
		case s.State == "ESTABLISHED" || s.State == "CLOSE_WAIT":
			l.Waiting = append(l.Waiting, s)
		}
	}
	all := true
	for i := range l.FDs {
		fd := &l.FDs[i]
		n := inode(*fd)
		if n == 0 {
			continue
		}
		s, ok := l.Sockets[n]
		if !ok {
			fd.Kind = p.kind(fd.Num, n)
			all = all && (fd.Kind != "tcp" || p.dead[n])
			continue
		}
		fd.Kind, fd.Local, fd.Remote, fd.State = "tcp", s.Local, s.Remote, s.State
		if s.State == "LISTEN" {
			fd.Kind = "listener"
		}
	}
	return all
}

// kind names a socket that is in no table of TCP sockets: one of another protocol, or a
// TCP socket that has no connection, which the tables leave out.
func (p *process) kind(fd int, inode uint64) string {
	name, ok := p.protocols[inode]
	if !ok {
		name = strings.ToLower(probe.Protocol(p.pid, fd))
		p.protocols[inode] = name
	}
	switch {
	case name == "tcp" || name == "tcpv6":
		return "tcp"
	case strings.HasPrefix(name, "unix"):
		return "unix"
	case name == "udp" || name == "udpv6":
		return "udp"
	}
	return "socket"
}

// lists reads the interest lists, and what the eventfds and timerfds in them hold.
func (p *process) lists(l *Look) {
	for _, fd := range l.FDs {
		switch {
		case fd.Kind == "epoll":
			table, err := probe.EpollTable(p.pid, fd.Num)
			if err != nil {
				if !p.closed(fd) {
					l.Blind, p.unread = true, err
				}
				continue
			}
			l.Epolls = append(l.Epolls, Epoll{fd.Num, table})
			for _, i := range table {
				if watched, ok := l.fd(i.FD); ok && (watched.Kind == "eventfd" || watched.Kind == "timerfd") {
					l.Pending[i.FD] = probe.Pending(p.pid, i.FD)
				}
			}
		case fd.Kind == "file" && strings.HasSuffix(fd.Target, " (deleted)") && !strings.HasPrefix(fd.Target, "/memfd:"):
			if info, err := os.Stat(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd.Num)); err == nil && info.Mode().IsRegular() {
				l.Large[fd.Num] = info.Size()
			}
		}
	}
	maps.DeleteFunc(l.Pending, func(_ int, n uint64) bool { return n == 0 })
}

// closed tells whether fd has been closed since it was listed.
func (p *process) closed(fd probe.FD) bool {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", p.pid, fd.Num))
	return err != nil || target != fd.Target
}

func (p *process) threads(l *Look) error {
	tids, err := probe.Threads(p.pid)
	if err != nil {
		return err
	}
	l.At = time.Now()
	if l.Used, err = probe.ProcessCPU(p.pid); err != nil {
		return err
	}
	for _, tid := range tids {
		state, err := probe.ThreadState(p.pid, tid)
		if err != nil {
			continue // it has ended
		}
		t := Thread{Thread: state, ID: tid, Name: probe.ThreadName(p.pid, tid)}
		t.Used, t.Waited, _ = probe.ThreadDemand(p.pid, tid)
		t.System, _ = probe.SystemTime(p.pid, tid)
		l.Threads = append(l.Threads, t)
	}
	return nil
}
