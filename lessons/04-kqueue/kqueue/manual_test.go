//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package kqueue_test

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"iolab/lessons/04-kqueue/kqueue"
)

// behaviour is one promise of the manual pages kqueue(2) and kevent(2).
type behaviour struct {
	name  string
	says  string // what the manual says, in our words
	needs []func() string
	try   func(s *scene)
}

const (
	read  = kqueue.EVFILT_READ
	write = kqueue.EVFILT_WRITE
	timer = kqueue.EVFILT_TIMER

	add     = kqueue.EV_ADD
	remove  = kqueue.EV_DELETE
	enable  = kqueue.EV_ENABLE
	disable = kqueue.EV_DISABLE
	oneshot = kqueue.EV_ONESHOT
	edge    = kqueue.EV_CLEAR
)

type needs = []func() string

var behaviours = []behaviour{
	// The call.
	{"a new queue is empty", "kqueue makes a queue; kevent returns the number of events, which is 0 when the time is over", nil, func(s *scene) {
		s.none()
	}},
	{"a timeout of zero polls", "a timeout of zero returns at once", nil, func(s *scene) {
		start := time.Now()
		for range 10 {
			if got := s.kevent(0, 1); len(got) != 0 {
				s.t.Fatal("an empty queue should have no events, but has ", show(got...))
			}
		}
		if took := time.Since(start); took > patience/2 {
			s.t.Fatalf("ten polls should not wait, but took %v", took)
		}
	}},
	{"a timeout is waited for", "the timeout is the longest that kevent waits", nil, func(s *scene) {
		start := time.Now()
		s.kevent(50*time.Millisecond, 1)
		if took := time.Since(start); took < 45*time.Millisecond {
			s.t.Fatalf("a timeout of 50 ms should last that long, but took %v", took)
		}
	}},
	{"no timeout waits for ever", "without a timeout kevent waits until there is an event", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		got := s.background(nil)
		time.Sleep(quiet)
		w.write(1)
		s.is(s.received(got), r.fd, read)
	}},
	{"a timeout must be a time", "EINVAL: the time limit is invalid", nil, func(s *scene) {
		_, err := kqueue.Kevent(s.kq, nil, make([]kqueue.Kevent_t, 1), &kqueue.Timespec{Nsec: 1_000_000_000})
		if err != unix.EINVAL {
			s.t.Fatalf("a timeout of 1e9 nanoseconds should be EINVAL, but is %v", err)
		}
	}},
	{"no room means no wait", "with no room for events kevent returns at once, whatever the timeout", nil, func(s *scene) {
		r, _ := s.pipe()
		start := time.Now()
		minute := kqueue.Timespec{Sec: 60}
		n, err := kqueue.Kevent(s.kq, []kqueue.Kevent_t{change(r.fd, read, add)}, nil, &minute)
		if took := time.Since(start); n != 0 || err != nil || took > patience {
			s.t.Fatalf("it returned %d, %v after %v", n, err, took)
		}
	}},
	{"a queue must be open", "EBADF: the descriptor is invalid", nil, func(s *scene) {
		kq, err := kqueue.Kqueue()
		s.must("kqueue", err)
		s.must("close", kqueue.Close(kq))
		if _, err := kqueue.Kevent(kq, nil, make([]kqueue.Kevent_t, 1), &kqueue.Timespec{}); err != unix.EBADF {
			s.t.Fatalf("kevent on a closed queue should be EBADF, but is %v", err)
		}
	}},
	{"a queue must be a queue", "EBADF: the descriptor is invalid", nil, func(s *scene) {
		r, _ := s.pipe()
		if _, err := kqueue.Kevent(r.fd, nil, make([]kqueue.Kevent_t, 1), &kqueue.Timespec{}); err != unix.EBADF {
			s.t.Fatalf("kevent on a pipe should be EBADF, but is %v", err)
		}
	}},
	{"changes come before events", "all changes are applied before events are read", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(3)
		got := s.kevent(patience, 8, change(r.fd, read, add))
		if len(got) != 1 {
			s.t.Fatal("one call should add the knote and return its event, but gave ", show(got...))
		}
		s.is(got[0], r.fd, read)
	}},
	{"a deletion comes before events", "all changes are applied before events are read", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(3)
		if got := s.kevent(quiet, 8, change(r.fd, read, remove)); len(got) != 0 {
			s.t.Fatal("a knote deleted in the same call should give no event, but gave ", show(got...))
		}
	}},
	{"changes are made in order", "the changes of a list are applied one after the other", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		got := s.kevent(patience, 8, change(r.fd, read, add), change(r.fd, read, remove), change(r.fd, read, add))
		if len(got) != 1 {
			s.t.Fatal("add, delete, add should leave one knote, but gave ", show(got...))
		}
		s.is(got[0], r.fd, read)
	}},
	{"one array for both lists", "the same array may be used for changes and events", nil, func(s *scene) {
		r1, w1 := s.pipe()
		r2, w2 := s.pipe()
		w1.write(1)
		w2.write(2)
		list := []kqueue.Kevent_t{change(r1.fd, read, add), change(r2.fd, read, add)}
		wait := kqueue.Timespec{Sec: 5}
		n, err := kqueue.Kevent(s.kq, list, list, &wait)
		s.must("kevent", err)
		seen := map[int]int64{}
		for _, k := range list[:n] {
			seen[int(k.Ident)] = k.Data
		}
		if n != 2 || seen[r1.fd] != 1 || seen[r2.fd] != 2 {
			s.t.Fatal("both should be reported, but there are ", show(list[:n]...))
		}
	}},
	{"more events than room", "kevent returns as many events as there is room for; the others come with the next call", nil, func(s *scene) {
		var fds []int
		for range 5 {
			r, w := s.pipe()
			w.write(1)
			s.do(r.fd, read, add|oneshot)
			fds = append(fds, r.fd)
		}
		seen := map[int]int{}
		for range 3 {
			for _, k := range s.kevent(quiet, 2) {
				seen[int(k.Ident)]++
			}
		}
		for _, fd := range fds {
			if seen[fd] != 1 {
				s.t.Fatalf("each of 5 should come once in 3 calls with room for 2, but %d came %d times", fd, seen[fd])
			}
		}
	}},
	{"everybody has a turn", "kevent returns pending events; one that stays ready does not hide the others", nil, func(s *scene) {
		seen := map[int]int{}
		for range 4 {
			r, w := s.pipe()
			w.write(1)
			s.do(r.fd, read, add)
			seen[r.fd] = 0
		}
		for range 16 {
			for _, k := range s.kevent(quiet, 1) {
				seen[int(k.Ident)]++
			}
		}
		for fd, n := range seen {
			if n == 0 {
				s.t.Fatalf("4 are ready all the time, and of 16 calls with room for one event none reported %d", fd)
			}
		}
	}},

	// Errors.
	{"deleting what is not there", "ENOENT: the event to be modified or deleted is not there; the error is an event if there is room, else the call's", nil, func(s *scene) {
		r, _ := s.pipe()
		s.fails(unix.ENOENT, r.fd, read, remove)
	}},
	{"enabling what is not there", "ENOENT: the event to be modified or deleted is not there", nil, func(s *scene) {
		r, _ := s.pipe()
		s.fails(unix.ENOENT, r.fd, read, enable)
	}},
	{"disabling what is not there", "ENOENT: the event to be modified or deleted is not there", nil, func(s *scene) {
		r, _ := s.pipe()
		s.fails(unix.ENOENT, r.fd, read, disable)
	}},
	{"deleting twice", "ENOENT: the event to be modified or deleted is not there", nil, func(s *scene) {
		r, _ := s.pipe()
		s.do(r.fd, read, add)
		s.do(r.fd, read, remove)
		s.fails(unix.ENOENT, r.fd, read, remove)
	}},
	{"a descriptor must be open", "EBADF: the descriptor is invalid", nil, func(s *scene) {
		r, w := s.pipe()
		r.close()
		w.close()
		s.fails(unix.EBADF, w.fd, read, add)
		s.fails(unix.EBADF, w.fd, write, add)
	}},
	{"a filter must be one", "EINVAL: the filter is invalid", nil, func(s *scene) {
		r, _ := s.pipe()
		s.fails(unix.EINVAL, r.fd, 0x7f, add)
	}},
	{"a failed change is named", "a change that fails comes back as an event, with EV_ERROR in flags and the error in data", nil, func(s *scene) {
		r1, _ := s.pipe()
		r2, _ := s.pipe()
		s.do(r1.fd, read, add)
		got := s.kevent(0, 8, change(r2.fd, read, remove), change(r1.fd, write, remove))
		if len(got) != 2 || int(got[0].Ident) != r2.fd || filterOf(got[0]) != read || int(got[1].Ident) != r1.fd || filterOf(got[1]) != write {
			s.t.Fatal("both failed changes should come back, in order, but there are ", show(got...))
		}
	}},
	{"a failed change does not stop the others", "a change that fails becomes an event if there is room, and the next is applied", nil, func(s *scene) {
		r1, _ := s.pipe()
		r2, w2 := s.pipe()
		w2.write(1)
		s.kevent(0, 8, change(r1.fd, read, remove), change(r2.fd, read, add))
		s.event(r2.fd, read)
	}},
	{"a failed change does not wait", "a failed change is an event, and kevent returns when there is one", nil, func(s *scene) {
		r, _ := s.pipe()
		start := time.Now()
		if got := s.kevent(time.Minute, 1, change(r.fd, read, remove)); len(got) != 1 || time.Since(start) > patience {
			s.t.Fatal("the error should come at once, but there is ", show(got...))
		}
	}},
	{"a receipt says that it worked", "EV_RECEIPT makes a change come back with EV_ERROR and data 0", needs{receipt}, func(s *scene) {
		r, _ := s.pipe()
		got := s.kevent(0, 8, change(r.fd, read, add|kqueue.EV_RECEIPT), change(r.fd, read, remove|kqueue.EV_RECEIPT))
		if len(got) != 2 {
			s.t.Fatal("two changes should give two receipts, but give ", show(got...))
		}
		for _, k := range got {
			if int(k.Flags)&kqueue.EV_ERROR == 0 || k.Data != 0 || int(k.Ident) != r.fd {
				s.t.Fatal("a receipt should have EV_ERROR and data 0, but is ", show(k))
			}
		}
	}},
	{"a receipt says that it failed", "EV_RECEIPT makes a change come back with EV_ERROR, and its error in data", needs{receipt}, func(s *scene) {
		r, _ := s.pipe()
		got := s.kevent(0, 8, change(r.fd, read, remove|kqueue.EV_RECEIPT))
		if len(got) != 1 || int(got[0].Flags)&kqueue.EV_ERROR == 0 || got[0].Data != int64(unix.ENOENT) {
			s.t.Fatal("a receipt should say ENOENT, but there is ", show(got...))
		}
	}},
	{"receipts leave the events alone", "EV_RECEIPT is for making changes without taking pending events", needs{receipt}, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add|edge)
		w.write(1)
		other, _ := s.pipe()
		got := s.kevent(0, 8, change(other.fd, read, add|kqueue.EV_RECEIPT))
		if len(got) != 1 || int(got[0].Ident) != other.fd {
			s.t.Fatal("there should be the receipt and nothing else, but there is ", show(got...))
		}
		s.event(r.fd, read)
	}},

	// Adding, changing, removing.
	{"adding twice makes one knote", "adding what is there changes it, and makes no second", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		s.do(r.fd, read, add)
		w.write(1)
		s.event(r.fd, read)
		s.do(r.fd, read, remove)
		s.none()
	}},
	{"udata comes back", "udata is passed through unchanged", nil, func(s *scene) {
		var changes []kqueue.Kevent_t
		for i := range 3 {
			r, w := s.pipe()
			w.write(i + 1)
			k := change(r.fd, read, add)
			setUdata(&k, i+1)
			changes = append(changes, k)
		}
		s.kevent(0, 0, changes...)
		got := s.kevent(patience, 8)
		if len(got) != 3 {
			s.t.Fatal("there should be three events, but there are ", show(got...))
		}
		for _, k := range got {
			if !hasUdata(&k, int(k.Data)) {
				s.t.Fatal("udata should be what was registered, but is not: ", show(k))
			}
		}
	}},
	{"udata can be changed", "adding what is there changes its parameters", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		for i := 1; i <= 2; i++ {
			k := change(r.fd, read, add)
			setUdata(&k, i)
			s.kevent(0, 0, k)
		}
		if k := s.event(r.fd, read); !hasUdata(&k, 2) {
			s.t.Fatal("udata should be the second one, but is not")
		}
	}},
	{"a failed change keeps its udata", "a failed change comes back as an event", nil, func(s *scene) {
		r, _ := s.pipe()
		k := change(r.fd, read, remove)
		setUdata(&k, 7)
		if got := s.kevent(0, 1, k); len(got) != 1 || !hasUdata(&got[0], 7) {
			s.t.Fatal("the failed change should come back with its udata, but there is ", show(got...))
		}
	}},
	{"added means enabled", "adding an event enables it", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		s.do(r.fd, read, add)
		s.event(r.fd, read)
	}},
	{"added disabled", "EV_DISABLE with EV_ADD: it is there and is not reported", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		s.do(r.fd, read, add|disable)
		s.none()
		s.do(r.fd, read, enable)
		s.event(r.fd, read)
	}},
	{"disabled is not reported", "EV_DISABLE: kevent does not return the event", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(1)
		s.event(r.fd, read)
		s.do(r.fd, read, disable)
		s.none()
	}},
	{"a disabled filter still looks", "EV_DISABLE does not disable the filter itself: what happened meanwhile is reported when it is enabled", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add|edge)
		s.do(r.fd, read, disable)
		w.write(5)
		s.none()
		s.do(r.fd, read, enable)
		s.data(r.fd, read, 5)
	}},
	{"deleted is gone", "EV_DELETE removes the event", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(1)
		s.do(r.fd, read, remove)
		s.none()
	}},
	{"a disabled knote can be deleted", "EV_DELETE removes the event", nil, func(s *scene) {
		r, _ := s.pipe()
		s.do(r.fd, read, add|disable)
		s.do(r.fd, read, remove)
		s.fails(unix.ENOENT, r.fd, read, enable)
	}},
	{"what comes back can go in again", "flags that only come back mean nothing in a change", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(2)
		w.close()
		k := s.until(r.fd, read, "EV_EOF", eof)
		kqueue.SetKevent(&k, r.fd, read, int(k.Flags)|add)
		k.Fflags, k.Data = 0, 0
		if got := s.kevent(patience, 8, k); len(got) != 1 || int(got[0].Flags)&kqueue.EV_ERROR != 0 || got[0].Data != 2 {
			s.t.Fatal("an event given back as a change should work, but gave ", show(got...))
		}
	}},

	// How often.
	{"level", "the filter is run again when events are fetched: what holds is reported again", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(10)
		s.data(r.fd, read, 10)
		s.data(r.fd, read, 10)
		r.read(4)
		s.data(r.fd, read, 6)
		r.read(6)
		s.none()
	}},
	{"what no longer holds is not reported", "the filter is run when events are fetched: what no longer holds is dropped", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add|edge)
		w.write(1)
		r.read(1)
		s.none()
	}},
	{"many causes, one event", "several events that trigger a filter are one kevent", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add|edge)
		for range 5 {
			w.write(2)
		}
		s.data(r.fd, read, 10)
		s.none()
	}},
	{"clear", "EV_CLEAR: the state is reset when the event is fetched", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|edge)
		a.write(3)
		s.data(b.fd, read, 3)
		s.none()
	}},
	{"clear, and more", "EV_CLEAR: what comes after it was fetched is a new event", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|edge)
		a.write(3)
		s.data(b.fd, read, 3)
		a.write(4)
		s.data(b.fd, read, 7)
		s.none()
	}},
	{"clear, on what was there before", "the filter is run when the event is added, to see what is there already", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(3)
		s.do(r.fd, read, add|edge)
		s.data(r.fd, read, 3)
		s.none()
	}},
	{"oneshot", "EV_ONESHOT: it is reported once and then deleted", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|oneshot)
		a.write(1)
		s.event(b.fd, read)
		a.write(1)
		s.none()
		s.fails(unix.ENOENT, b.fd, read, remove)
	}},
	{"oneshot again", "EV_ONESHOT: it is deleted when it has been reported, and can be added anew", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		for range 3 {
			s.do(r.fd, read, add|oneshot)
			s.event(r.fd, read)
		}
		s.none()
	}},
	{"dispatch", "EV_DISPATCH: it is disabled when it has been reported", needs{dispatch}, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|kqueue.EV_DISPATCH)
		a.write(1)
		s.event(b.fd, read)
		a.write(1)
		s.none()
	}},
	{"dispatch, enabled again", "EV_DISPATCH: it is disabled and not deleted, and EV_ENABLE makes it report what there is", needs{dispatch}, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|kqueue.EV_DISPATCH)
		for range 3 {
			a.write(2)
			s.data(b.fd, read, 2)
			s.none()
			s.do(b.fd, read, enable|kqueue.EV_DISPATCH)
			s.data(b.fd, read, 2) // it is still there
			b.read(2)
			s.do(b.fd, read, enable|kqueue.EV_DISPATCH)
			s.none()
		}
	}},
	{"dispatch, deleted", "EV_DISPATCH: it is disabled and not deleted", needs{dispatch}, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		s.do(r.fd, read, add|kqueue.EV_DISPATCH)
		s.event(r.fd, read)
		s.do(r.fd, read, remove)
		s.fails(unix.ENOENT, r.fd, read, remove)
	}},

	// EVFILT_READ on sockets.
	{"data is the bytes there are", "data is the number of bytes that can be read", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		s.none()
		a.write(100)
		s.data(b.fd, read, 100)
		b.read(99)
		s.data(b.fd, read, 1)
		b.read(1)
		s.none()
	}},
	{"bytes that were there before", "the filter is run when the event is added, to see what is there already", nil, func(s *scene) {
		a, b := s.tcp()
		a.write(7)
		s.do(b.fd, read, add)
		s.data(b.fd, read, 7)
	}},
	{"the end of data", "EV_EOF: the read direction has been shut down", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		s.must("shutdown", unix.Shutdown(a.fd, unix.SHUT_WR))
		k := s.event(b.fd, read)
		if !eof(k) || k.Data != 0 || k.Fflags != 0 {
			s.t.Fatal("the end should be EV_EOF with data 0 and no error, but is ", show(k))
		}
	}},
	{"the end of data, with data", "EV_EOF may come while there are bytes to be read", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		a.write(11)
		a.close()
		k := s.until(b.fd, read, "EV_EOF", eof)
		if k.Data != 11 {
			s.t.Fatal("there are 11 bytes before the end, but data is ", k.Data)
		}
		b.read(11)
		if k := s.event(b.fd, read); !eof(k) || k.Data != 0 {
			s.t.Fatal("when they are read there is the end alone, but there is ", show(k))
		}
	}},
	{"the end of data stays", "the filter is run again when events are fetched: the end still holds", nil, func(s *scene) {
		a, b := s.tcp()
		a.close()
		s.do(b.fd, read, add)
		for range 3 {
			if k := s.event(b.fd, read); !eof(k) {
				s.t.Fatal("the end should be reported each time, but there is ", show(k))
			}
		}
	}},
	{"the end of data, clear", "EV_CLEAR: the state is reset when the event is fetched", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|edge)
		s.must("shutdown", unix.Shutdown(a.fd, unix.SHUT_WR))
		if k := s.event(b.fd, read); !eof(k) {
			s.t.Fatal("there should be EV_EOF, but there is ", show(k))
		}
		s.none()
	}},
	{"the end of data is not the end of output", "EV_EOF of EVFILT_READ is about the read direction", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, write, add)
		s.must("shutdown", unix.Shutdown(a.fd, unix.SHUT_WR))
		s.do(b.fd, read, add)
		s.until(b.fd, read, "EV_EOF", eof)
		s.do(b.fd, read, remove)
		if k := s.event(b.fd, write); eof(k) {
			s.t.Fatal("the peer still reads, so there should be no EV_EOF for writing, but there is ", show(k))
		}
		b.write(5)
		a.read(5)
	}},
	{"a reset", "with EV_EOF, fflags is the socket's error", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		a.reset()
		k := s.event(b.fd, read)
		if !eof(k) || k.Fflags != uint32(unix.ECONNRESET) {
			s.t.Fatalf("a reset should be EV_EOF with fflags %d (ECONNRESET), but is %s", int(unix.ECONNRESET), show(k))
		}
	}},
	{"a reset is still to be read", "kevent reports the error; taking it is the reader's", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		a.reset()
		s.until(b.fd, read, "EV_EOF", eof)
		if _, err := unix.Read(b.fd, make([]byte, 1)); err != unix.ECONNRESET {
			s.t.Fatalf("the read after it should fail with ECONNRESET, but gave %v", err)
		}
	}},
	{"a low water mark", "NOTE_LOWAT: it is reported when there are as many bytes as data said", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add, kqueue.NOTE_LOWAT, 10)
		a.write(9)
		s.none()
		a.write(1)
		s.data(b.fd, read, 10)
		s.data(b.fd, read, 10)
		b.read(1)
		s.none()
		a.write(3)
		s.data(b.fd, read, 12)
	}},
	{"a low water mark, clear", "NOTE_LOWAT, and the state is reset when the event is fetched", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|edge, kqueue.NOTE_LOWAT, 10)
		a.write(9)
		s.none()
		a.write(2)
		s.data(b.fd, read, 11)
		s.none()
	}},
	{"a low water mark, oneshot", "NOTE_LOWAT: what is below it is no event, and does not use up EV_ONESHOT", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add|oneshot, kqueue.NOTE_LOWAT, 10)
		a.write(9)
		s.none()
		a.write(1)
		s.data(b.fd, read, 10)
		s.none()
		s.fails(unix.ENOENT, b.fd, read, remove)
	}},
	{"a low water mark and the end", "the end of data is reported whatever the mark", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add, kqueue.NOTE_LOWAT, 10)
		a.write(4)
		s.none()
		a.close()
		if k := s.event(b.fd, read); !eof(k) || k.Data != 4 {
			s.t.Fatal("there should be EV_EOF with data 4, but there is ", show(k))
		}
	}},
	{"a listener", "a listener is reported when a connection waits", nil, func(s *scene) {
		l, addr := s.listen()
		s.do(l.fd, read, add)
		s.none()
		s.dial(addr)
		s.event(l.fd, read)
		s.accept(l)
		s.none()
	}},
	{"a listener's data", "data of a listener is the number of connections that wait", nil, func(s *scene) {
		l, addr := s.listen()
		s.do(l.fd, read, add)
		for range 3 {
			s.dial(addr)
		}
		s.until(l.fd, read, "data 3", func(k kqueue.Kevent_t) bool { return k.Data == 3 })
		s.accept(l)
		s.data(l.fd, read, 2)
	}},
	{"a listener, clear", "EV_CLEAR: several connections may be one event, and a later one is a new event", nil, func(s *scene) {
		l, addr := s.listen()
		s.do(l.fd, read, add|edge)
		s.dial(addr)
		s.event(l.fd, read)
		s.none()
		s.dial(addr)
		s.event(l.fd, read)
	}},

	// EVFILT_WRITE on sockets.
	{"room to write", "it is reported whenever one can write; data is the room", nil, func(s *scene) {
		a, _ := s.tcp()
		s.do(a.fd, write, add)
		for range 2 {
			if k := s.event(a.fd, write); k.Data <= 0 || eof(k) {
				s.t.Fatal("a new connection should have room, but there is ", show(k))
			}
		}
	}},
	{"no room to write", "it is reported whenever one can write, and not when one cannot", nil, func(s *scene) {
		a, b := s.tcp()
		a.fill()
		s.do(a.fd, write, add)
		s.none()
		b.drain()
		s.event(a.fd, write)
	}},
	{"room to write, clear", "EV_CLEAR: the state is reset when the event is fetched", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(a.fd, write, add|edge)
		s.event(a.fd, write)
		s.none()
		a.fill()
		s.kevent(0, 8) // what came while there was room
		s.none()
		b.drain()
		s.event(a.fd, write)
	}},
	{"room to write, oneshot", "EV_ONESHOT: it is reported once and then deleted", nil, func(s *scene) {
		a, _ := s.tcp()
		s.do(a.fd, write, add|oneshot)
		s.event(a.fd, write)
		s.none()
		s.fails(unix.ENOENT, a.fd, write, remove)
	}},
	{"the reader has gone", "EV_EOF of EVFILT_WRITE: the reader has disconnected", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(a.fd, write, add|edge)
		s.event(a.fd, write)
		b.reset()
		if k := s.event(a.fd, write); !eof(k) {
			s.t.Fatal("a reset should be EV_EOF for writing, but is ", show(k))
		}
	}},
	{"a connection comes about", "it is reported whenever one can write: when the connection is made, and not before", nil, func(s *scene) {
		l, addr := s.listen()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		s.must("socket", err)
		c := s.closing(fd)
		if err := unix.Connect(fd, addr); err != nil && err != unix.EINPROGRESS {
			s.must("connect", err)
		}
		s.do(c.fd, write, add)
		if k := s.event(c.fd, write); eof(k) {
			s.t.Fatal("the connection should be made, but there is ", show(k))
		}
		s.accept(l)
		c.write(1)
	}},
	{"a connection does not come about", "EV_EOF, and fflags is the socket's error", nil, func(s *scene) {
		l, addr := s.listen()
		l.close()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		s.must("socket", err)
		c := s.closing(fd)
		if err := unix.Connect(fd, addr); err == unix.ECONNREFUSED {
			s.notTried("connect says at once that nobody listens")
		}
		s.do(c.fd, write, add)
		k := s.until(c.fd, write, "EV_EOF", eof)
		if k.Fflags != uint32(unix.ECONNREFUSED) {
			s.t.Fatalf("fflags should be %d (ECONNREFUSED), but there is %s", int(unix.ECONNREFUSED), show(k))
		}
	}},

	// Two knotes on one descriptor.
	{"two filters, two knotes", "a kevent is identified by ident and filter", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		s.do(b.fd, write, add)
		a.write(5)
		for start := time.Now(); ; {
			got := s.kevent(patience, 8)
			if len(got) == 2 && filterOf(got[0]) != filterOf(got[1]) {
				return
			}
			if time.Since(start) > patience {
				s.t.Fatal("both filters should report in one call, but there is ", show(got...))
			}
		}
	}},
	{"one filter is deleted", "a kevent is identified by ident and filter: the other one stays", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		s.do(b.fd, write, add)
		s.do(b.fd, write, remove)
		a.write(5)
		s.data(b.fd, read, 5)
		s.do(b.fd, write, add)
		s.do(b.fd, read, remove)
		s.event(b.fd, write)
	}},
	{"one filter is disabled", "a kevent is identified by ident and filter: the other one stays", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		s.do(b.fd, write, add|disable)
		a.write(5)
		s.data(b.fd, read, 5)
	}},
	{"each filter has its own flags", "a kevent is identified by ident and filter, and has its own flags", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, write, add|edge)
		s.event(b.fd, write)
		s.do(b.fd, read, add)
		a.write(5)
		for range 3 {
			s.data(b.fd, read, 5)
		}
	}},

	// Pipes.
	{"a pipe's data", "data is the number of bytes in the pipe", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		s.none()
		w.write(42)
		s.data(r.fd, read, 42)
		r.read(42)
		s.none()
	}},
	{"a pipe's last writer leaves", "EV_EOF: the last writer has disconnected", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(3)
		w.close()
		k := s.until(r.fd, read, "EV_EOF", eof)
		if k.Data != 3 {
			s.t.Fatal("3 bytes are still there, but data is ", k.Data)
		}
		r.read(3)
		if k := s.event(r.fd, read); !eof(k) {
			s.t.Fatal("there should be EV_EOF, but there is ", show(k))
		}
	}},
	{"room in a pipe", "data is the room that is left", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(w.fd, write, add)
		if k := s.event(w.fd, write); k.Data <= 0 {
			s.t.Fatal("an empty pipe should have room, but there is ", show(k))
		}
		w.fill()
		s.none()
		r.drain()
		s.event(w.fd, write)
	}},
	{"a pipe's reader leaves", "EV_EOF of EVFILT_WRITE: the reader has disconnected", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(w.fd, write, add|edge)
		s.event(w.fd, write)
		r.close()
		if k := s.event(w.fd, write); !eof(k) {
			s.t.Fatal("there should be EV_EOF, but there is ", show(k))
		}
	}},

	// Closing descriptors.
	{"close removes", "closing a descriptor removes the kevents that refer to it", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		w.write(1)
		s.event(r.fd, read)
		r.close()
		s.none()
		s.fails(unix.EBADF, r.fd, read, remove)
	}},
	{"close removes both filters", "closing a descriptor removes the kevents that refer to it", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		s.do(b.fd, write, add)
		a.write(1)
		s.until(b.fd, write, "room", func(kqueue.Kevent_t) bool { return true })
		b.close()
		s.none()
	}},
	{"a new file has no knote", "closing a descriptor removes the kevents that refer to it: its number may be another file's", nil, func(s *scene) {
		r1, _ := s.pipe()
		r2, w2 := s.pipe()
		s.do(r1.fd, read, add)
		s.moveTo(r2, r1)
		w2.write(1)
		s.none()
		s.fails(unix.ENOENT, r1.fd, read, remove)
	}},
	{"a new file has no disabled knote", "closing a descriptor removes the kevents that refer to it: its number may be another file's", nil, func(s *scene) {
		r1, _ := s.pipe()
		r2, w2 := s.pipe()
		s.do(r1.fd, read, add|disable)
		s.moveTo(r2, r1)
		w2.write(1)
		s.fails(unix.ENOENT, r1.fd, read, enable)
		s.none()
	}},
	{"a new file gets its own knote", "closing a descriptor removes the kevents that refer to it: its number may be another file's", nil, func(s *scene) {
		r1, w1 := s.pipe()
		r2, w2 := s.pipe()
		k := change(r1.fd, read, add)
		setUdata(&k, 1)
		s.kevent(0, 0, k)
		w1.write(5)
		s.moveTo(r2, r1)
		setUdata(&k, 2)
		s.kevent(0, 0, k)
		w2.write(3)
		if k := s.data(r1.fd, read, 3); !hasUdata(&k, 2) {
			s.t.Fatal("the event should be the new knote's, but is the old one's")
		}
	}},
	{"a duplicate does not keep a knote", "closing a descriptor removes the kevents that refer to it, also when another one is open for the same file", nil, func(s *scene) {
		a, b := s.tcp()
		s.do(b.fd, read, add)
		dup, err := unix.Dup(b.fd)
		s.must("dup", err)
		d := s.closing(dup)
		a.write(1)
		s.event(b.fd, read)
		b.close()
		s.none()
		a.write(1)
		s.none()
		s.do(d.fd, read, add)
		s.data(d.fd, read, 2)
	}},
	{"a duplicate does not keep a knote for writing", "closing a descriptor removes the kevents that refer to it, also when another one is open for the same file", nil, func(s *scene) {
		_, b := s.tcp()
		s.do(b.fd, write, add)
		dup, err := unix.Dup(b.fd)
		s.must("dup", err)
		s.closing(dup)
		s.event(b.fd, write)
		b.close()
		s.none()
	}},
	{"a duplicate and a new file", "closing a descriptor removes the kevents that refer to it: its number may be another file's", nil, func(s *scene) {
		r1, w1 := s.pipe()
		r2, w2 := s.pipe()
		s.do(r1.fd, read, add)
		dup, err := unix.Dup(r1.fd)
		s.must("dup", err)
		s.closing(dup)
		s.moveTo(r2, r1)
		w1.write(1) // for the old file, which is open still
		s.none()
		w2.write(2)
		s.none()
		s.do(r1.fd, read, add)
		s.data(r1.fd, read, 2)
	}},
	{"duplicates have knotes of their own", "a kevent is identified by ident and filter", nil, func(s *scene) {
		r, w := s.pipe()
		fd, err := unix.Dup(r.fd)
		s.must("dup", err)
		dup := s.closing(fd)
		s.do(r.fd, read, add|oneshot)
		s.do(dup.fd, read, add|oneshot)
		w.write(1)
		seen := map[int]bool{}
		for start := time.Now(); len(seen) < 2 && time.Since(start) < patience; {
			for _, k := range s.kevent(quiet, 8) {
				seen[int(k.Ident)] = true
			}
		}
		if !seen[r.fd] || !seen[dup.fd] {
			s.t.Fatal("both descriptors should be reported, but there is ", seen)
		}
	}},

	// EVFILT_TIMER.
	{"a timer fires", "data is the time in milliseconds", nil, func(s *scene) {
		start := time.Now()
		s.do(1, timer, add, 0, 50)
		s.event(1, timer)
		if took := time.Since(start); took < 45*time.Millisecond {
			s.t.Fatalf("a timer of 50 ms should not fire earlier, but fired after %v", took)
		}
	}},
	{"a timer is periodic", "a timer is periodic unless EV_ONESHOT is given", nil, func(s *scene) {
		s.do(1, timer, add, 0, 10)
		for range 3 {
			s.event(1, timer)
		}
	}},
	{"a timer counts", "data is the number of times that it has expired since it was last fetched", nil, func(s *scene) {
		s.do(1, timer, add, 0, 20)
		time.Sleep(150 * time.Millisecond)
		if k := s.event(1, timer); k.Data < 3 {
			s.t.Fatal("after 150 ms a timer of 20 ms should have expired several times, but data is ", k.Data)
		}
	}},
	{"a timer is cleared", "the timer filter sets EV_CLEAR by itself", nil, func(s *scene) {
		s.do(1, timer, add, 0, 2000)
		if got := s.kevent(4*time.Second, 8); len(got) != 1 || got[0].Data != 1 {
			s.t.Fatal("it should have expired once, but there is ", show(got...))
		}
		s.none()
	}},
	{"a timer fires once", "EV_ONESHOT: it is deleted when it has been fetched", nil, func(s *scene) {
		s.do(1, timer, add|oneshot, 0, 10)
		s.data(1, timer, 1)
		s.none()
		s.fails(unix.ENOENT, 1, timer, remove)
	}},
	{"a timer is deleted", "EV_DELETE removes the event", nil, func(s *scene) {
		s.do(1, timer, add, 0, 10)
		s.do(1, timer, remove)
		s.none()
		s.fails(unix.ENOENT, 1, timer, remove)
	}},
	{"a timer that has expired is deleted", "EV_DELETE removes the event", nil, func(s *scene) {
		s.do(1, timer, add, 0, 1)
		time.Sleep(quiet)
		s.do(1, timer, remove)
		s.none()
	}},
	{"a disabled timer runs", "EV_DISABLE does not disable the filter itself", nil, func(s *scene) {
		s.do(1, timer, add|disable, 0, 10)
		s.none()
		s.do(1, timer, enable, 0, 10)
		s.event(1, timer)
	}},
	{"a timer is set anew", "adding a timer that is there cancels it and starts it with the new time", needs{rearm}, func(s *scene) {
		s.do(1, timer, add, 0, 60_000)
		s.do(1, timer, add, 0, 10)
		s.event(1, timer)
		s.do(1, timer, add, 0, 60_000)
		s.none()
	}},
	{"each timer has its time", "a timer fires when its time has come", nil, func(s *scene) {
		start := time.Now()
		times := map[int]time.Duration{1: 300 * time.Millisecond, 2: 50 * time.Millisecond, 3: 150 * time.Millisecond}
		for id, d := range times {
			s.do(id, timer, add|oneshot, 0, d.Milliseconds())
		}
		for len(times) > 0 {
			got := s.kevent(patience, 8)
			if len(got) == 0 {
				s.t.Fatalf("timers have not fired: %v", times)
			}
			for _, k := range got {
				if took, d := time.Since(start), times[int(k.Ident)]; took < d-5*time.Millisecond || d == 0 {
					s.t.Fatalf("timer %d of %v fired after %v", k.Ident, d, took)
				}
				delete(times, int(k.Ident))
			}
		}
	}},
	{"a timer's ident is its own", "a kevent is identified by ident and filter", nil, func(s *scene) {
		r, w := s.pipe()
		s.do(r.fd, read, add)
		s.do(r.fd, timer, add|oneshot, 0, 10)
		s.event(r.fd, timer)
		w.write(1)
		s.event(r.fd, read)
		s.none2(r.fd, timer)
	}},
	{"a timer wakes a waiting thread", "a timer fires when its time has come, for who waits already", nil, func(s *scene) {
		got := s.background(nil)
		time.Sleep(quiet)
		s.do(1, timer, add|oneshot, 0, 10)
		s.is(s.received(got), 1, timer)
	}},
	{"seconds", "NOTE_SECONDS: data is in seconds", needs{units}, func(s *scene) {
		start := time.Now()
		s.do(1, timer, add|oneshot, noteSeconds, 1)
		s.event(1, timer)
		if took := time.Since(start); took < 950*time.Millisecond {
			s.t.Fatalf("one second lasted %v", took)
		}
	}},
	{"milliseconds", "NOTE_MSECONDS: data is in milliseconds", needs{units}, func(s *scene) {
		start := time.Now()
		s.do(1, timer, add|oneshot, noteMseconds, 60)
		s.event(1, timer)
		if took := time.Since(start); took < 55*time.Millisecond {
			s.t.Fatalf("60 ms lasted %v", took)
		}
	}},
	{"microseconds", "NOTE_USECONDS: data is in microseconds", needs{units}, func(s *scene) {
		start := time.Now()
		s.do(1, timer, add|oneshot, noteUseconds, 60_000)
		s.event(1, timer)
		if took := time.Since(start); took < 55*time.Millisecond {
			s.t.Fatalf("60000 µs lasted %v", took)
		}
	}},
	{"nanoseconds", "NOTE_NSECONDS: data is in nanoseconds", needs{units}, func(s *scene) {
		start := time.Now()
		s.do(1, timer, add|oneshot, noteNseconds, 60_000_000)
		s.event(1, timer)
		if took := time.Since(start); took < 55*time.Millisecond {
			s.t.Fatalf("60000000 ns lasted %v", took)
		}
	}},

	// EVFILT_USER.
	{"a user event waits for its trigger", "a user event is not tied to anything in the kernel: it happens when the program says so", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.none()
		s.trigger(1)
		s.event(1, evfiltUser)
	}},
	{"a user event, clear", "EV_CLEAR: the state is reset when the event is fetched", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.trigger(1)
		s.trigger(1)
		s.event(1, evfiltUser)
		s.none()
		s.trigger(1)
		s.event(1, evfiltUser)
	}},
	{"a user event, level", "without EV_CLEAR the state is not reset", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add)
		s.trigger(1)
		for range 3 {
			s.event(1, evfiltUser)
		}
	}},
	{"a user event, oneshot", "EV_ONESHOT: it is deleted when it has been fetched", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|oneshot)
		s.trigger(1)
		s.event(1, evfiltUser)
		s.none()
		s.fails(unix.ENOENT, 1, evfiltUser, remove)
	}},
	{"a user event must be there", "ENOENT: the event to be modified is not there", needs{user}, func(s *scene) {
		if err := s.try(1, evfiltUser, 0, noteTrigger); err != unix.ENOENT {
			s.t.Fatalf("triggering what is not there should be ENOENT, but is %v", err)
		}
	}},
	{"a disabled user event", "EV_DISABLE: it is not returned; what happened meanwhile is, when it is enabled", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.do(1, evfiltUser, disable)
		s.trigger(1)
		s.none()
		s.do(1, evfiltUser, enable)
		s.event(1, evfiltUser)
	}},
	{"a deleted user event", "EV_DELETE removes the event", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.trigger(1)
		s.do(1, evfiltUser, remove)
		s.none()
	}},
	{"user events have idents", "a kevent is identified by ident and filter", needs{user}, func(s *scene) {
		for id := range 3 {
			s.do(id, evfiltUser, add|edge)
		}
		s.trigger(1)
		s.event(1, evfiltUser)
		s.none()
	}},
	{"user flags: copy", "NOTE_FFCOPY: the lower 24 bits of fflags are stored", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.do(1, evfiltUser, 0, noteFFCopy|noteTrigger|0x123456)
		s.notes(0x123456)
	}},
	{"user flags: or", "NOTE_FFOR: fflags are ORed to what is stored", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.do(1, evfiltUser, 0, noteFFCopy|0x0f)
		s.do(1, evfiltUser, 0, noteFFOr|noteTrigger|0xf0)
		s.notes(0xff)
	}},
	{"user flags: and", "NOTE_FFAND: fflags are ANDed to what is stored", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.do(1, evfiltUser, 0, noteFFCopy|0xff)
		s.do(1, evfiltUser, 0, noteFFAnd|noteTrigger|0x3c)
		s.notes(0x3c)
	}},
	{"user flags: nothing", "NOTE_FFNOP: fflags are ignored", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.do(1, evfiltUser, 0, noteFFCopy|0x05)
		s.do(1, evfiltUser, 0, noteFFNop|noteTrigger|0xf0)
		s.notes(0x05)
	}},
	{"user flags do not trigger", "NOTE_TRIGGER makes the event happen; the other notes do not", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		s.do(1, evfiltUser, 0, noteFFCopy|0x05)
		s.none()
	}},
	{"a trigger wakes a waiting thread", "a user event happens when the program says so, from any thread", needs{user}, func(s *scene) {
		s.do(1, evfiltUser, add|edge)
		got := s.background(nil)
		time.Sleep(quiet)
		s.trigger(1)
		s.is(s.received(got), 1, evfiltUser)
	}},
	{"no trigger is lost", "a user event happens when the program says so, from any thread", needs{user}, func(s *scene) {
		const rounds = 2000
		s.do(1, evfiltUser, add|edge)
		var work atomic.Int64
		go func() {
			for range rounds {
				work.Add(1)
				for {
					if err := s.try(1, evfiltUser, 0, noteTrigger); err != unix.EINTR {
						break
					}
				}
			}
		}()
		for done := int64(0); done < rounds; done += work.Swap(0) {
			if got := s.kevent(patience, 1); len(got) == 0 {
				if done += work.Swap(0); done < rounds {
					s.t.Fatalf("after %d of %d triggers it waits on", done, rounds)
				}
			}
		}
	}},

	// Several threads, several queues.
	{"a thread waits and another adds", "changes are applied to the queue, whoever waits on it", nil, func(s *scene) {
		r, w := s.pipe()
		w.write(1)
		got := s.background(nil)
		time.Sleep(quiet)
		s.do(r.fd, read, add)
		s.is(s.received(got), r.fd, read)
	}},
	{"one of several threads gets a oneshot", "EV_ONESHOT: only the first occurrence is returned", nil, func(s *scene) {
		s.shared(oneshot, func(fd int) { s.do(fd, read, add|oneshot) })
	}},
	{"one of several threads gets a dispatched event", "EV_DISPATCH: it is disabled as it is delivered", needs{dispatch}, func(s *scene) {
		s.shared(kqueue.EV_DISPATCH, func(fd int) { s.do(fd, read, enable|kqueue.EV_DISPATCH) })
	}},
	{"a queue in a queue", "a queue is a descriptor, and can be watched: it is readable when there are events", nil, func(s *scene) {
		outer := &scene{t: s.t, kq: s.queue()}
		r, w := s.pipe()
		s.do(r.fd, read, add)
		outer.do(s.kq, read, add)
		outer.none()
		w.write(1)
		if k := outer.event(s.kq, read); k.Data < 1 {
			s.t.Fatal("data should be the number of events, but is ", k.Data)
		}
		s.event(r.fd, read)
		r.read(1)
		outer.none()
	}},
	{"a queue in a queue, with a timer", "a queue is a descriptor, and can be watched: it is readable when there are events", nil, func(s *scene) {
		outer := &scene{t: s.t, kq: s.queue()}
		outer.do(s.kq, read, add)
		s.do(1, timer, add|oneshot, 0, 20)
		outer.event(s.kq, read)
		s.event(1, timer)
		outer.none()
	}},
	{"a queue in a queue, with a user event", "a queue is a descriptor, and can be watched: it is readable when there are events", needs{user}, func(s *scene) {
		outer := &scene{t: s.t, kq: s.queue()}
		outer.do(s.kq, read, add)
		s.do(1, evfiltUser, add|edge)
		outer.none()
		s.trigger(1)
		outer.event(s.kq, read)
		s.event(1, evfiltUser)
		outer.none()
	}},
	{"two queues watch one descriptor", "a kevent is unique in its queue; another queue has its own", nil, func(s *scene) {
		other := &scene{t: s.t, kq: s.queue()}
		r, w := s.pipe()
		s.do(r.fd, read, add|oneshot)
		other.do(r.fd, read, add)
		w.write(1)
		s.event(r.fd, read)
		s.none()
		other.event(r.fd, read)
	}},
}

// none2 wants no event of ident and filter among those there are.
func (s *scene) none2(ident, filter int) {
	s.t.Helper()
	for _, k := range s.kevent(quiet, 8) {
		if int(k.Ident) == ident && filterOf(k) == filter {
			s.t.Fatal("there should be no such event, but there is ", show(k))
		}
	}
}

// notes wants the user event 1 with these fflags.
func (s *scene) notes(want uint32) {
	s.t.Helper()
	if k := s.event(1, evfiltUser); k.Fflags&noteFFMask != want {
		s.t.Fatalf("fflags should be %#x, but are %#x", want, k.Fflags)
	}
}

// notTried ends a behaviour that this system gives no occasion to try.
func (s *scene) notTried(why string) {
	s.t.Helper()
	untried = append(untried, s.t.Name()+": "+why)
	s.t.Skip(why)
}

// background waits for one event on a goroutine of its own.
func (s *scene) background(timeout *kqueue.Timespec) <-chan kqueue.Kevent_t {
	result := make(chan kqueue.Kevent_t, 1)
	go func() {
		events := make([]kqueue.Kevent_t, 1)
		for {
			n, err := kqueue.Kevent(s.kq, nil, events, timeout)
			if err == unix.EINTR {
				continue
			}
			if n == 1 {
				result <- events[0]
			}
			close(result)
			return
		}
	}()
	return result
}

func (s *scene) received(result <-chan kqueue.Kevent_t) kqueue.Kevent_t {
	s.t.Helper()
	select {
	case k, ok := <-result:
		if !ok {
			s.t.Fatal("the thread that waits should get an event, but got an error")
		}
		return k
	case <-time.After(patience):
		s.t.Fatal("the thread that waits should get an event, but waits on")
	}
	panic("not reached")
}

// moveTo closes to and gives its number to from's file.
func (s *scene) moveTo(from, to *descriptor) {
	s.t.Helper()
	number := to.fd
	to.close()
	fd, err := unix.FcntlInt(uintptr(from.fd), unix.F_DUPFD, number)
	s.must("fcntl", err)
	s.t.Cleanup(func() { unix.Close(fd) })
	if fd != number {
		s.notTried("the number of a closed descriptor was taken before it could be used again")
	}
	from.close()
}

// shared has four threads wait for a pipe that is written to again and again, and wants
// each byte to be reported to one of them. The knote has flags, and again makes it report
// once more.
func (s *scene) shared(flags int, again func(fd int)) {
	s.t.Helper()
	const threads, rounds = 4, 50
	r, w := s.pipe()
	s.do(r.fd, read, add|flags)
	events := make(chan int64, rounds*threads)
	stop := make(chan struct{})
	ended := make(chan struct{}, threads)
	for range threads {
		go func() {
			defer func() { ended <- struct{}{} }()
			list := make([]kqueue.Kevent_t, 2)
			for {
				select {
				case <-stop:
					return
				default:
				}
				wait := kqueue.Timespec{Nsec: 20_000_000}
				if n, err := kqueue.Kevent(s.kq, nil, list, &wait); err == nil {
					for range n {
						events <- list[0].Data
					}
				}
			}
		}()
	}
	for range rounds {
		w.write(1)
		select {
		case <-events:
		case <-time.After(patience):
			s.t.Error("one thread should get the event, but none does")
		}
		r.read(1)
		again(r.fd)
	}
	time.Sleep(quiet)
	close(stop)
	for range threads {
		<-ended
	}
	if n := len(events); n > 0 {
		s.t.Errorf("%d events of %d were given to a second thread", n, rounds)
	}
}
