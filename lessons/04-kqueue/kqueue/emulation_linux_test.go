package kqueue_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/04-kqueue/kqueue"
)

// Tests of what is the emulation's own: no manual speaks of it.

func TestWhatIsNotCoveredSaysSo(t *testing.T) {
	s := newScene(t)
	r, _ := s.pipe()
	file, err := os.Open(os.Args[0])
	s.must("open", err)
	defer file.Close()
	for name, k := range map[string]kqueue.Kevent_t{
		"EVFILT_VNODE":   change(r.fd, kqueue.EVFILT_VNODE, add),
		"EVFILT_PROC":    change(1, kqueue.EVFILT_PROC, add),
		"EVFILT_SIGNAL":  change(15, kqueue.EVFILT_SIGNAL, add),
		"EVFILT_AIO":     change(r.fd, kqueue.EVFILT_AIO, add),
		"EVFILT_FS":      change(0, kqueue.EVFILT_FS, add),
		"a regular file": change(int(file.Fd()), read, add),
		"a strange flag": change(r.fd, read, add|0x100),
		"NOTE_ABSTIME":   change(1, timer, add, 0x10, 1),
	} {
		for _, events := range [][]kqueue.Kevent_t{nil, make([]kqueue.Kevent_t, 1)} {
			n, err := kqueue.Kevent(s.kq, []kqueue.Kevent_t{k}, events, &kqueue.Timespec{})
			if n != -1 || !errors.Is(err, kqueue.ErrNotCovered) {
				t.Errorf("%s should be ErrNotCovered, but gave %d, %v", name, n, err)
			}
		}
	}
}

func TestTwoUnitsAreNoUnit(t *testing.T) {
	s := newScene(t)
	if err := s.try(1, timer, add, noteSeconds|noteUseconds, 1); err != unix.EINVAL {
		t.Errorf("a timer in two units should be EINVAL, but is %v", err)
	}
	if err := s.try(1, timer, add, 0, -1); err != unix.EINVAL {
		t.Errorf("a timer of -1 ms should be EINVAL, but is %v", err)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestCloseGivesEverythingBack(t *testing.T) {
	before := openDescriptors(t)
	for range 10 {
		kq, err := kqueue.Kqueue()
		if err != nil {
			t.Fatal(err)
		}
		if err := kqueue.Close(kq); err != nil {
			t.Fatal(err)
		}
		if err := kqueue.Close(kq); err != unix.EBADF {
			t.Fatalf("a second Close should be EBADF, but is %v", err)
		}
	}
	if after := openDescriptors(t); after != before {
		t.Fatalf("%d descriptors were open, now %d are", before, after)
	}
}

func TestABareCloseIsMadeUpFor(t *testing.T) {
	before := openDescriptors(t)
	kq, err := kqueue.Kqueue()
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(kq)
	if _, err := kqueue.Kevent(kq, nil, make([]kqueue.Kevent_t, 1), &kqueue.Timespec{}); err != unix.EBADF {
		t.Fatalf("a queue closed with close(2) should be EBADF, but is %v", err)
	}
	again, err := kqueue.Kqueue()
	if err != nil {
		t.Fatal(err)
	}
	if again != kq {
		t.Skipf("the number %d was taken by somebody else", kq)
	}
	if err := kqueue.Close(again); err != nil {
		t.Fatal(err)
	}
	if after := openDescriptors(t); after != before {
		t.Fatalf("%d descriptors were open, now %d are", before, after)
	}
}

func TestCloseEndsAWait(t *testing.T) {
	s := newScene(t)
	ended := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := kqueue.Kevent(s.kq, nil, make([]kqueue.Kevent_t, 1), nil)
			ended <- err
		}()
	}
	time.Sleep(quiet)
	kqueue.Close(s.kq)
	for range 2 {
		select {
		case err := <-ended:
			if err != unix.EBADF {
				t.Fatalf("the wait should end with EBADF, but ended with %v", err)
			}
		case <-time.After(patience):
			t.Fatal("the wait should end, but goes on")
		}
	}
}

// A descriptor is closed, a duplicate of it is open, and there is something to read: epoll
// would report that for ever.
func haunt(s *scene) {
	r, w := s.pipe()
	s.do(r.fd, read, add)
	dup, err := unix.FcntlInt(uintptr(r.fd), unix.F_DUPFD_CLOEXEC, 0)
	s.must("fcntl", err)
	s.closing(dup)
	r.close()
	w.write(1)
}

func TestAGhostCostsNothing(t *testing.T) {
	s := newScene(t)
	haunt(s)
	s.none()
	var before, after unix.Rusage
	unix.Getrusage(unix.RUSAGE_SELF, &before)
	s.kevent(300*time.Millisecond, 8)
	unix.Getrusage(unix.RUSAGE_SELF, &after)
	used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	if used > int64(100*time.Millisecond) {
		t.Fatalf("a wait of 300 ms with nothing to report should use no CPU, but used %v", time.Duration(used))
	}
}

func TestAGhostHidesNobodyWhoWaits(t *testing.T) {
	for range 20 {
		s := newScene(t)
		r, w := s.pipe()
		s.do(r.fd, read, add|oneshot)
		got := s.background(nil)
		time.Sleep(time.Millisecond)
		haunt(s)
		s.none2(-1, read) // and the instances are made anew
		w.write(1)
		select {
		case k := <-got:
			s.is(k, r.fd, read)
		case <-time.After(patience):
			t.Fatal("the thread that waits should get the event, but waits on")
		}
	}
}

func TestAQueueWithoutDescriptorsSaysSo(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	before := openDescriptors(t)
	top, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(top)
	for room := range 4 {
		limit := old
		limit.Cur = uint64(top + room)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		kq, err := kqueue.Kqueue()
		unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
		if err != unix.EMFILE {
			t.Errorf("with room for %d descriptors Kqueue should be EMFILE, but gave %d, %v", room, kq, err)
		}
	}
	if after := openDescriptors(t); after != before {
		t.Fatalf("%d descriptors were open, now %d are", before, after)
	}
}
