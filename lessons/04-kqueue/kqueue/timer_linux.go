package kqueue

import (
	"container/heap"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

var start = time.Now()

// now is a monotonic time in nanoseconds, never 0.
func now() int64 { return int64(time.Since(start)) + 1 }

// changeTimer applies a change of EVFILT_TIMER.
func (q *queue) changeTimer(k *Kevent_t) error {
	id := identFilter{k.Ident, k.Filter}
	kn := q.others[id]
	switch {
	case k.Flags&EV_ADD != 0:
		period, err := period(k)
		if err != nil {
			return err
		}
		if kn == nil {
			kn = &knote{identFilter: id, flags: k.Flags&kept | EV_CLEAR, index: -1}
			q.others[id] = kn
		}
		// One that runs already starts anew, and what it has counted is dropped.
		kn.period, kn.due = period, now()+period
		kn.set(k)
		q.run(kn)
	case kn == nil:
		return unix.ENOENT
	case k.Flags&EV_DELETE != 0:
		q.delete(kn)
	default:
		kn.set(k)
		if !kn.disabled && kn.due <= now() {
			q.activate(kn) // it expired meanwhile
			q.setPoke()
		}
	}
	return nil
}

// period is a timer's data in nanoseconds.
func period(k *Kevent_t) (int64, error) {
	var unit int64
	switch k.Fflags {
	case 0, NOTE_MSECONDS:
		unit = 1e6
	case NOTE_SECONDS:
		unit = 1e9
	case NOTE_USECONDS:
		unit = 1e3
	case NOTE_NSECONDS:
		unit = 1
	default:
		if k.Fflags&^(NOTE_SECONDS|NOTE_MSECONDS|NOTE_USECONDS|NOTE_NSECONDS) != 0 {
			return 0, notCovered("a timer with the notes %#x", k.Fflags)
		}
		return 0, unix.EINVAL // two units
	}
	switch {
	case k.Data < 0:
		return 0, unix.EINVAL
	case k.Data > math.MaxInt64/2/unit:
		return math.MaxInt64 / 2, nil // centuries
	case k.Data == 0 && k.Flags&EV_ONESHOT == 0:
		return 1e6, nil // a period of nothing would be an event for ever
	}
	return k.Data * unit, nil
}

// run puts kn, whose due time is new, among the timers that run.
func (q *queue) run(kn *knote) {
	if kn.index >= 0 {
		heap.Fix(&q.running, kn.index)
	} else {
		heap.Push(&q.running, kn)
	}
}

func (q *queue) stop(kn *knote) {
	if kn.filter == EVFILT_TIMER && kn.index >= 0 {
		heap.Remove(&q.running, kn.index)
	}
}

// arm sets the timerfd to the next expiration, if it is not set to that already.
func (q *queue) arm() {
	var due int64
	if len(q.running) > 0 {
		due = q.running[0].due
	}
	if due == q.armed {
		return
	}
	q.armed = due
	var spec unix.ItimerSpec // all zero: off, and not readable
	if due != 0 {
		spec.Value = unix.NsecToTimespec(max(due-now(), 1))
	}
	_ = unix.TimerfdSettime(q.timer, 0, &spec, nil)
}

// expire activates the timers whose time has come. They do not run again before they are
// reported: how often they expired until then can be worked out.
func (q *queue) expire() {
	for t := now(); len(q.running) > 0 && q.running[0].due <= t; {
		q.activate(heap.Pop(&q.running).(*knote))
	}
	q.armed = -1 // the timerfd stays readable until it is set anew
}

func (kn *knote) takeTimer(q *queue, k *Kevent_t) bool {
	late := now() - kn.due
	if late < 0 {
		return false // started anew since it expired
	}
	k.Data = 1
	if kn.flags&EV_ONESHOT == 0 {
		k.Data += late / kn.period
		kn.due += k.Data * kn.period
		q.run(kn)
	}
	return true
}

// timers is a heap by due time.
type timers []*knote

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].due < t[j].due }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	kn := x.(*knote)
	kn.index = len(*t)
	*t = append(*t, kn)
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	last := len(*t) - 1
	kn := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	kn.index = -1
	return kn
}
