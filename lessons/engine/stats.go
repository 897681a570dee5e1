package engine

import "time"

// Stats are an engine's counters since New. They are plain numbers, owned by the
// loop and cheap enough to be always on: they are how the lab shows why one model
// costs more than another.
type Stats struct {
	Connections int    // open now
	Accepts     uint64 // connections accepted and served
	Refused     uint64 // connections accepted and closed at once, for want of room
	Parked      uint64 // times that accepting paused, mostly for want of descriptors
	BytesIn     uint64 // bytes read: given to OnData, or discarded by Shutdown
	BytesOut    uint64 // bytes that the kernel took
	Wakeups     uint64 // returns of the wait call with something to do
	EAGAINs     uint64 // calls that found the kernel not ready after all
	ShortWrites uint64 // writes of which the kernel took a part, or nothing, or that it did not finish at once

	SlowTurns   uint64        // turns that were busy for longer than Config.TurnBudget
	LongestTurn time.Duration // the busiest turn

	Calls [NumCalls]uint64 // system calls made, by kind
}

// Turn counts a turn of the loop that was busy from start until now.
func (s *Stats) Turn(start time.Time, budget time.Duration) {
	busy := time.Since(start)
	s.LongestTurn = max(s.LongestTurn, busy)
	if busy > budget {
		s.SlowTurns++
	}
}

// Add adds t's counters to s: the sum is that of two loops. LongestTurn is the longer.
func (s *Stats) Add(t Stats) {
	s.Connections += t.Connections
	s.Accepts += t.Accepts
	s.Refused += t.Refused
	s.Parked += t.Parked
	s.BytesIn += t.BytesIn
	s.BytesOut += t.BytesOut
	s.Wakeups += t.Wakeups
	s.EAGAINs += t.EAGAINs
	s.ShortWrites += t.ShortWrites
	s.SlowTurns += t.SlowTurns
	s.LongestTurn = max(s.LongestTurn, t.LongestTurn)
	for i := range s.Calls {
		s.Calls[i] += t.Calls[i]
	}
}

// Total is the number of system calls of all kinds.
func (s *Stats) Total() uint64 {
	var total uint64
	for _, n := range s.Calls {
		total += n
	}
	return total
}

// Call is a kind of system call, an index of Stats.Calls.
type Call int

// The system calls that the engines make. Calls that set a socket up (socket,
// setsockopt, bind, listen) are not counted.
const (
	CallAccept Call = iota
	CallRead
	CallWrite
	CallShutdown
	CallClose
	CallSelect
	CallEpollWait
	CallEpollCtl
	CallKevent
	CallGetpeername
	CallIOUringEnter
	CallAcceptEx
	CallWSARecv
	CallWSASend
	CallGetQueuedCompletionStatusEx
	CallCancelIoEx
	NumCalls // how many kinds there are
)

var callNames = [NumCalls]string{
	CallAccept:    "accept",
	CallRead:      "read",
	CallWrite:     "write",
	CallShutdown:  "shutdown",
	CallClose:     "close",
	CallSelect:    "select",
	CallEpollWait: "epoll_wait",
	CallEpollCtl:  "epoll_ctl",
	CallKevent:    "kevent",

	CallGetpeername:  "getpeername",
	CallIOUringEnter: "io_uring_enter",

	CallAcceptEx:                    "AcceptEx",
	CallWSARecv:                     "WSARecv",
	CallWSASend:                     "WSASend",
	CallGetQueuedCompletionStatusEx: "GetQueuedCompletionStatusEx",
	CallCancelIoEx:                  "CancelIoEx",
}

// String is the call's name as the kernel spells it.
func (c Call) String() string { return callNames[c] }
