package probe

import (
	"net/netip"
	"time"
)

// Socket is a TCP socket as the kernel shows it to anyone in its network namespace.
type Socket struct {
	Inode  uint64 // 0: no process has it, such as one that waits to be accepted
	State  string // such as "ESTABLISHED" or "CLOSE_WAIT"
	Local  netip.AddrPort
	Remote netip.AddrPort // not of a listener

	Unread    int  // bytes in the receive queue
	EndUnread bool // the peer's FIN has come, and the program has not read as far as that
	Unsent    int  // bytes in the send queue: not sent, or not acknowledged

	AcceptQueue int // of a listener: connections that wait to be accepted
	Backlog     int // and how many may; -1 if the kernel does not tell
	Drops       int // clients that it turned away since it was made; -1 likewise

	// Probing: the peer's window is closed, so the kernel asks from time to time whether it
	// has opened. Retransmits: how often it has sent the same again, unanswered.
	Probing     bool
	Retransmits int

	// Counted is set where the kernel tells the rest: through sock_diag(7), not through
	// /proc/net/tcp.
	Counted  bool
	Read     uint64        // bytes (a FIN is one) that the program has taken from the receive queue
	Acked    uint64        // bytes that the peer has acknowledged
	LastData time.Duration // since data came
	LastAck  time.Duration // since anything came from the peer, such as its FIN
}
