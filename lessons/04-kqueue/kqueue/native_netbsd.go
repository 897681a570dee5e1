package kqueue

// What NetBSD has had since version 10, from its <sys/event.h>; x/sys speaks of version 9
// still. A kernel before 10 knows none of it: EVFILT_USER is EINVAL there, and the flags
// are not looked at.
const (
	EVFILT_USER = 8

	NOTE_TRIGGER    = 0x01000000
	NOTE_FFNOP      = 0x00000000
	NOTE_FFAND      = 0x40000000
	NOTE_FFOR       = 0x80000000
	NOTE_FFCOPY     = 0xc0000000
	NOTE_FFCTRLMASK = 0xc0000000
	NOTE_FFLAGSMASK = 0x00ffffff

	EV_RECEIPT  = 0x0040
	EV_DISPATCH = 0x0080
)
