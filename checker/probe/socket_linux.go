package probe

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sockets lists the TCP sockets of process pid, whose inodes are in own, and the
// connections that nobody has accepted yet on the ports of its listeners (of other
// processes' listeners on those ports, too). It asks sock_diag(7); where that is not to be
// had, as for another network namespace, it reads /proc/PID/net. Sockets that have no
// connection are in neither. A socket that the process has opened to another's port may be
// left out if all is false: then the kernel is asked for the listeners' ports alone, which
// spares it, and us, all the others of a machine that has hundreds of thousands.
func Sockets(pid int, own map[uint64]bool, all bool) ([]Socket, error) {
	if SameNetwork(pid) {
		if list, err := diagnosed(own, all); err == nil {
			return list, nil
		}
	}
	return tabled(pid, own)
}

// SameNetwork tells whether process pid is in this process's network namespace; also
// if that may not be known.
func SameNetwork(pid int) bool {
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	mine, _ := os.Readlink("/proc/self/ns/net")
	return err != nil || theirs == mine
}

// Sizes and offsets of include/uapi/linux/inet_diag.h.
const (
	diagRequest = 56 // struct inet_diag_req_v2
	diagMessage = 72 // struct inet_diag_msg

	diagInfo    = 2 // INET_DIAG_INFO: struct tcp_info
	diagMemInfo = 7 // INET_DIAG_SKMEMINFO: nine words

	memInfoDrops = 8 // SK_MEMINFO_DROPS

	timerProbe = 4 // idiag_timer: the zero window probe

	timeWait = 6  // TCP_TIME_WAIT
	listen   = 10 // TCP_LISTEN
)

// diagnosed asks sock_diag(7): first for the listeners of this namespace.
func diagnosed(own map[uint64]bool, all bool) ([]Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	listeners, err := dump(fd, 1<<listen, nil, func(inode uint64, _ uint16) bool { return own[inode] })
	if err != nil {
		return nil, err
	}
	ports := map[uint16]bool{}
	for _, l := range listeners {
		ports[l.Local.Port()] = true
	}
	keep := func(inode uint64, port uint16) bool { return own[inode] || inode == 0 && ports[port] }
	var filter []byte
	if !all {
		if len(ports) == 0 {
			return nil, nil
		}
		filter = portFilter(ports)
	}
	rest, err := dump(fd, ^uint32(1<<timeWait|1<<listen), filter, keep)
	return append(listeners, rest...), err
}

// portFilter is a program for the kernel, of struct inet_diag_bc_op, that lets sockets with
// one of these local ports pass; nil, which lets all pass, if they are too many for one.
func portFilter(ports map[uint16]bool) []byte {
	if len(ports) > 100 {
		return nil
	}
	const atLeast, atMost, jump = 2, 3, 1 // INET_DIAG_BC_S_GE, S_LE, JMP
	var program []byte
	op := func(code, yes byte, no int) {
		program = binary.NativeEndian.AppendUint16(append(program, code, yes), uint16(no))
	}
	left := 20*len(ports) - 4 // the last has no jump
	for port := range ports {
		op(atLeast, 8, 20) // else to the next port's, or beyond the end: refused
		op(0, 0, int(port))
		op(atMost, 8, 12)
		op(0, 0, int(port))
		if left -= 16; left > 0 {
			op(jump, 4, left) // to the end: let pass
			left -= 4
		}
	}
	return program
}

// dump asks for all TCP sockets in these states that filter lets pass and keep wants.
func dump(fd int, states uint32, filter []byte, keep func(inode uint64, port uint16) bool) (list []Socket, err error) {
	for _, family := range []byte{unix.AF_INET, unix.AF_INET6} {
		length := unix.SizeofNlMsghdr + diagRequest
		if filter != nil {
			length += unix.SizeofRtAttr + len(filter)
		}
		request := binary.NativeEndian.AppendUint32(nil, uint32(length))
		request = binary.NativeEndian.AppendUint16(request, unix.SOCK_DIAG_BY_FAMILY)
		request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
		request = append(request, make([]byte, 8)...) // sequence number and sender: one question at a time needs neither
		request = append(request, family, unix.IPPROTO_TCP, 1<<(diagInfo-1)|1<<(diagMemInfo-1), 0)
		request = binary.NativeEndian.AppendUint32(request, states)
		request = append(request, make([]byte, 48)...) // any addresses
		if filter != nil {
			request = binary.NativeEndian.AppendUint16(request, uint16(unix.SizeofRtAttr+len(filter)))
			request = binary.NativeEndian.AppendUint16(request, 1) // INET_DIAG_REQ_BYTECODE
			request = append(request, filter...)
		}
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return nil, err
		}
		if list, err = diagAnswers(fd, list, keep); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// diagAnswers appends what comes until the end of one dump.
func diagAnswers(fd int, list []Socket, keep func(inode uint64, port uint16) bool) ([]Socket, error) {
	buf := make([]byte, 64<<10) // the kernel sends at most 32 KiB at once
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return list, nil
			case unix.NLMSG_ERROR:
				if len(m.Data) >= 4 {
					return nil, unix.Errno(-int32(binary.NativeEndian.Uint32(m.Data)))
				}
				return nil, unix.EPROTO
			case unix.SOCK_DIAG_BY_FAMILY:
				if len(m.Data) < diagMessage || !keep(uint64(binary.NativeEndian.Uint32(m.Data[68:])), binary.BigEndian.Uint16(m.Data[4:])) {
					continue
				}
				if s, ok := diagSocket(m.Data); ok {
					list = append(list, s)
				}
			}
		}
	}
}

// diagSocket reads a struct inet_diag_msg and the attributes behind it.
func diagSocket(b []byte) (s Socket, ok bool) {
	if len(b) < diagMessage {
		return s, false
	}
	native := binary.NativeEndian
	address := func(port, host []byte) netip.AddrPort {
		a, _ := netip.AddrFromSlice(host[:4])
		if b[0] == unix.AF_INET6 {
			a, _ = netip.AddrFromSlice(host[:16])
		}
		return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
	}
	s = Socket{
		State: stateName(int(b[1])), Probing: b[2] == timerProbe, Retransmits: int(b[3]),
		Local: address(b[4:6], b[8:24]), Remote: address(b[6:8], b[24:40]),
		Inode: uint64(native.Uint32(b[68:])), Backlog: -1, Drops: -1,
	}
	received, sent := int(native.Uint32(b[56:])), int(native.Uint32(b[60:]))
	s.queues(received, sent)
	for rest := b[diagMessage:]; len(rest) >= unix.SizeofRtAttr; {
		length, kind := int(native.Uint16(rest)), native.Uint16(rest[2:])
		if length < unix.SizeofRtAttr || length > len(rest) {
			break
		}
		value := rest[unix.SizeofRtAttr:length]
		switch {
		case kind == diagMemInfo && len(value) >= 4*(memInfoDrops+1):
			s.Drops = int(native.Uint32(value[4*memInfoDrops:]))
		case kind == diagInfo && s.State != "LISTEN":
			s.counters(value, received)
		}
		rest = rest[min((length+3)&^3, len(rest)):]
	}
	return s, true
}

// queues fills in the two queues as the kernel shows them, which for a listener have
// another meaning and count a FIN as a byte.
func (s *Socket) queues(received, sent int) {
	switch s.State {
	case "LISTEN":
		s.AcceptQueue, s.Backlog, s.Remote = received, sent, netip.AddrPort{}
		return
	case "CLOSE_WAIT", "LAST_ACK", "CLOSING":
		if s.EndUnread = received > 0; s.EndUnread {
			received--
		}
	}
	s.Unread, s.Unsent = received, sent
}

// counters reads what this kernel has of struct tcp_info; older ones have less.
func (s *Socket) counters(value []byte, queued int) {
	var info unix.TCPInfo
	word := func(offset uintptr) time.Duration {
		return time.Duration(binary.NativeEndian.Uint32(value[offset:])) * time.Millisecond
	}
	if end := unsafe.Offsetof(info.Bytes_received) + 8; uintptr(len(value)) < end {
		return
	}
	s.Counted = true
	s.Acked = binary.NativeEndian.Uint64(value[unsafe.Offsetof(info.Bytes_acked):])
	s.Read = binary.NativeEndian.Uint64(value[unsafe.Offsetof(info.Bytes_received):]) - uint64(queued)
	s.LastData = word(unsafe.Offsetof(info.Last_data_recv))
	s.LastAck = word(unsafe.Offsetof(info.Last_ack_recv))
}

// tabled reads the TCP sockets from /proc/PID/net/tcp and tcp6, see proc_pid_net(5).
func tabled(pid int, own map[uint64]bool) ([]Socket, error) {
	all, err := tabledAll(pid)
	ports := map[uint16]bool{}
	for _, s := range all {
		if s.State == "LISTEN" && own[s.Inode] {
			ports[s.Local.Port()] = true
		}
	}
	return slices.DeleteFunc(all, func(s Socket) bool { return !own[s.Inode] && (s.Inode != 0 || !ports[s.Local.Port()]) }), err
}

func tabledAll(pid int) ([]Socket, error) {
	var list []Socket
	for _, name := range []string{"tcp", "tcp6"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6 here, say
		}
		if err != nil {
			return nil, err
		}
		rows := bufio.NewScanner(f)
		rows.Scan() // the heading
		for rows.Scan() {
			if s, ok := tcpRow(strings.Fields(rows.Text())); ok && s.State != stateName(timeWait) {
				list = append(list, s)
			}
		}
		err = rows.Err()
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// tcpRow reads the fields of one row of /proc/net/tcp.
func tcpRow(fields []string) (s Socket, ok bool) {
	if len(fields) < 10 {
		return s, false
	}
	hex := func(text string) int {
		n, _ := strconv.ParseUint(text, 16, 32)
		return int(n)
	}
	s = Socket{State: stateName(hex(fields[3])), Local: procAddr(fields[1]), Remote: procAddr(fields[2]), Drops: -1}
	inode, err := strconv.ParseUint(fields[9], 10, 64)
	if s.Inode = inode; err != nil {
		return s, false
	}
	sent, received, _ := strings.Cut(fields[4], ":")
	s.queues(hex(received), hex(sent))
	s.Backlog = -1 // the column is always 0
	timer, _, _ := strings.Cut(fields[5], ":")
	s.Probing = hex(timer) == timerProbe
	s.Retransmits = hex(fields[6])
	return s, true
}

// ListenCounters are the accept queues' overflows and the clients turned away for any
// reason, of all listeners of the network namespace of process pid since it began.
func ListenCounters(pid int) (overflows, drops uint64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/netstat", pid))
	if err != nil {
		return 0, 0, err
	}
	overflows, drops = listenCounters(string(text))
	return overflows, drops, nil
}

// listenCounters reads a netstat file: lines in pairs, names and then numbers.
func listenCounters(text string) (overflows, drops uint64) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "TcpExt:" {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		for i := range min(len(names), len(fields)) {
			n, _ := strconv.ParseUint(fields[i], 10, 64)
			switch names[i] {
			case "ListenOverflows":
				overflows = n
			case "ListenDrops":
				drops = n
			}
		}
		names = nil
	}
	return overflows, drops
}
