// Package abi is what the kernel and its users have agreed on about io_uring: the structs
// and constants of include/uapi/linux/io_uring.h, in the kernel's own spelling. It is a
// dictionary; the lesson and its solution look things up in it.
package abi

// Offsets of the mappings of a ring's descriptor, for mmap(2).
const (
	IORING_OFF_SQ_RING = 0
	IORING_OFF_SQES    = 0x10000000
)

// Flags of io_uring_setup(2), and since when.
const (
	IORING_SETUP_SQPOLL        = 1 << 1  // a kernel thread takes the submissions
	IORING_SETUP_CQSIZE        = 1 << 3  // cq_entries is a wish (5.5)
	IORING_SETUP_CLAMP         = 1 << 4  // too many entries: the most there can be (5.6)
	IORING_SETUP_R_DISABLED    = 1 << 6  // nothing runs before IORING_REGISTER_ENABLE_RINGS (5.10)
	IORING_SETUP_SUBMIT_ALL    = 1 << 7  // a bad submission does not stop the others (5.18)
	IORING_SETUP_COOP_TASKRUN  = 1 << 8  // no interrupt to finish work (5.19)
	IORING_SETUP_SINGLE_ISSUER = 1 << 12 // one thread submits (6.0)
	IORING_SETUP_DEFER_TASKRUN = 1 << 13 // work is finished in io_uring_enter, and only there (6.1)
)

// Features that the kernel reports in io_uring_params.
const (
	IORING_FEAT_SINGLE_MMAP     = 1 << 0  // one mapping for both rings (5.4)
	IORING_FEAT_NODROP          = 1 << 1  // completions that do not fit are kept (5.5)
	IORING_FEAT_SQPOLL_NONFIXED = 1 << 7  // IORING_SETUP_SQPOLL takes any descriptor, not only registered ones (5.11)
	IORING_FEAT_EXT_ARG         = 1 << 8  // io_uring_enter takes a timeout (5.11)
	IORING_FEAT_RSRC_TAGS       = 1 << 10 // not used here; came when IORING_SETUP_SQPOLL became everybody's (5.13)
)

// Flags of io_uring_enter(2).
const (
	IORING_ENTER_GETEVENTS = 1 << 0
	IORING_ENTER_SQ_WAKEUP = 1 << 1
	IORING_ENTER_SQ_WAIT   = 1 << 2
	IORING_ENTER_EXT_ARG   = 1 << 3
)

// Flags of the submission queue, which the kernel sets.
const (
	IORING_SQ_NEED_WAKEUP = 1 << 0 // its thread (IORING_SETUP_SQPOLL) sleeps
	IORING_SQ_CQ_OVERFLOW = 1 << 1 // completions had no room; io_uring_enter fetches them
)

// Operations of io_uring_register(2).
const (
	IORING_REGISTER_PROBE        = 8
	IORING_REGISTER_ENABLE_RINGS = 12
	IORING_REGISTER_FILES2       = 13
	IORING_REGISTER_PBUF_RING    = 22
	IORING_UNREGISTER_PBUF_RING  = 23

	IORING_RSRC_REGISTER_SPARSE = 1 << 0
	IO_URING_OP_SUPPORTED       = 1 << 0
)

// Operations, see io_uring_enter(2).
const (
	IORING_OP_NOP          = 0
	IORING_OP_TIMEOUT      = 11
	IORING_OP_ACCEPT       = 13
	IORING_OP_ASYNC_CANCEL = 14
	IORING_OP_CLOSE        = 19
	IORING_OP_READ         = 22
	IORING_OP_WRITE        = 23
	IORING_OP_SEND         = 26
	IORING_OP_RECV         = 27
	IORING_OP_SHUTDOWN     = 34
	IORING_OP_SOCKET       = 45 // came with multishot accept and buffer rings (5.19)
	IORING_OP_SEND_ZC      = 47 // came with multishot receive (6.0)

	IORING_OP_READ_MULTISHOT = 49 // came after multishot timeouts (6.7; they are of 6.4)
)

// Flags of a submission.
const (
	IOSQE_FIXED_FILE    = 1 << 0 // fd is an index of the ring's own table
	IOSQE_IO_LINK       = 1 << 2 // the next one starts when this one has succeeded
	IOSQE_BUFFER_SELECT = 1 << 5 // the kernel picks a buffer of the group
)

// Flags of single operations.
const (
	IORING_ACCEPT_MULTISHOT = 1 << 0 // in SQE.Ioprio of accept
	IORING_RECV_MULTISHOT   = 1 << 1 // in SQE.Ioprio of recv

	IORING_TIMEOUT_MULTISHOT = 1 << 6 // in SQE.OpFlags of timeout

	IORING_FILE_INDEX_ALLOC = 1<<32 - 1 // in SQE.FileIndex: any free place of the table
)

// Flags of a completion. The buffer's number is in the upper 16 bits.
const (
	IORING_CQE_F_BUFFER = 1 << 0 // there is a buffer, also if there are no bytes in it
	IORING_CQE_F_MORE   = 1 << 1 // the operation goes on: there will be another completion
	IORING_CQE_F_NOTIF  = 1 << 3 // of a zero-copy send: the memory is free again

	IORING_CQE_BUFFER_SHIFT = 16
)

// SQE is struct io_uring_sqe: what the kernel is asked to do.
type SQE struct {
	Opcode      uint8
	Flags       uint8  // IOSQE_…
	Ioprio      uint16 // flags of accept, recv and send
	Fd          int32
	Off         uint64 // accept: the address of the address's length
	Addr        uint64 // of the buffer; cancel: the UserData to look for
	Len         uint32
	OpFlags     uint32 // accept: SOCK_…; send, recv: MSG_…
	UserData    uint64 // comes back in each of the operation's completions
	BufGroup    uint16 // with IOSQE_BUFFER_SELECT
	Personality uint16
	FileIndex   uint32 // of the ring's own table, plus one
	Addr3       uint64
	_           uint64
}

// CQE is struct io_uring_cqe: what came of it.
type CQE struct {
	UserData uint64
	Res      int32 // what the system call would have returned, or -errno
	Flags    uint32
}

// Params is struct io_uring_params: wishes in, facts out.
type Params struct {
	SqEntries    uint32
	CqEntries    uint32
	Flags        uint32
	SqThreadCPU  uint32
	SqThreadIdle uint32 // milliseconds
	Features     uint32
	WqFd         uint32
	_            [3]uint32
	SqOff        SQOffsets
	CqOff        CQOffsets
}

// SQOffsets is struct io_sqring_offsets: where in the mapping things are.
type SQOffsets struct {
	Head, Tail, RingMask, RingEntries, Flags, Dropped, Array uint32
	_                                                        uint32
	_                                                        uint64
}

// CQOffsets is struct io_cqring_offsets.
type CQOffsets struct {
	Head, Tail, RingMask, RingEntries, Overflow, Cqes, Flags uint32
	_                                                        uint32
	_                                                        uint64
}

// Buf is struct io_uring_buf, an entry of a ring of provided buffers. The last two
// bytes of entry 0 are the ring's tail.
type Buf struct {
	Addr uint64
	Len  uint32
	Bid  uint16
	_    uint16
}

// BufReg is struct io_uring_buf_reg.
type BufReg struct {
	RingAddr    uint64
	RingEntries uint32
	Bgid        uint16
	Flags       uint16
	_           [3]uint64
}

// RsrcRegister is struct io_uring_rsrc_register.
type RsrcRegister struct {
	Nr, Flags uint32
	_         uint64
	Data      uint64
	Tags      uint64
}

// GeteventsArg is struct io_uring_getevents_arg.
type GeteventsArg struct {
	Sigmask   uint64
	SigmaskSz uint32
	_         uint32
	Ts        uint64 // address of a Timespec, 0 for none
}

// Timespec is struct __kernel_timespec: 64 bits on every machine.
type Timespec struct{ Sec, Nsec int64 }

// Probe is struct io_uring_probe, with room for every operation there can be.
type Probe struct {
	LastOp uint8
	OpsLen uint8
	_      [14]byte
	Ops    [256]ProbeOp
}

// ProbeOp is struct io_uring_probe_op.
type ProbeOp struct {
	Op    uint8
	_     uint8
	Flags uint16
	_     uint32
}
