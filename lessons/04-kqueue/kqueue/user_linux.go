package kqueue

import "golang.org/x/sys/unix"

// changeUser applies a change of EVFILT_USER.
func (q *queue) changeUser(k *Kevent_t) error {
	id := identFilter{k.Ident, k.Filter}
	kn := q.others[id]
	switch {
	case kn == nil && k.Flags&EV_ADD != 0:
		kn = &knote{identFilter: id, flags: k.Flags & kept, fflags: k.Fflags & NOTE_FFLAGSMASK, index: -1}
		q.others[id] = kn
	case kn == nil:
		return unix.ENOENT
	case k.Flags&EV_DELETE != 0:
		q.delete(kn)
		return nil
	default:
		note := k.Fflags & NOTE_FFLAGSMASK
		switch k.Fflags & NOTE_FFCTRLMASK {
		case NOTE_FFAND:
			kn.fflags &= note
		case NOTE_FFOR:
			kn.fflags |= note
		case NOTE_FFCOPY:
			kn.fflags = note
		}
	}
	kn.data = k.Data
	kn.set(k)
	if k.Fflags&NOTE_TRIGGER != 0 {
		kn.triggered = true
	}
	if kn.triggered && !kn.disabled {
		q.activate(kn)
		q.setPoke()
	}
	return nil
}

func (kn *knote) takeUser(k *Kevent_t) bool {
	if !kn.triggered {
		return false
	}
	k.Fflags, k.Data = kn.fflags, kn.data
	if kn.flags&EV_CLEAR != 0 {
		kn.triggered = false
	}
	return true
}
