package abi

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// Every size and offset, with what include/uapi/linux/io_uring.h has.
func TestTheLayoutsAreTheKernels(t *testing.T) {
	var (
		sqe SQE
		cqe CQE
		p   Params
		so  SQOffsets
		co  CQOffsets
		buf Buf
		reg BufReg
		arg GeteventsArg
		pro Probe
		op  ProbeOp
		rr  RsrcRegister
	)
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"size of io_uring_sqe", unsafe.Sizeof(sqe), 64},
		{"io_uring_sqe.opcode", unsafe.Offsetof(sqe.Opcode), 0},
		{"io_uring_sqe.flags", unsafe.Offsetof(sqe.Flags), 1},
		{"io_uring_sqe.ioprio", unsafe.Offsetof(sqe.Ioprio), 2},
		{"io_uring_sqe.fd", unsafe.Offsetof(sqe.Fd), 4},
		{"io_uring_sqe.off", unsafe.Offsetof(sqe.Off), 8},
		{"io_uring_sqe.addr", unsafe.Offsetof(sqe.Addr), 16},
		{"io_uring_sqe.len", unsafe.Offsetof(sqe.Len), 24},
		{"io_uring_sqe.rw_flags", unsafe.Offsetof(sqe.OpFlags), 28},
		{"io_uring_sqe.user_data", unsafe.Offsetof(sqe.UserData), 32},
		{"io_uring_sqe.buf_group", unsafe.Offsetof(sqe.BufGroup), 40},
		{"io_uring_sqe.personality", unsafe.Offsetof(sqe.Personality), 42},
		{"io_uring_sqe.file_index", unsafe.Offsetof(sqe.FileIndex), 44},
		{"io_uring_sqe.addr3", unsafe.Offsetof(sqe.Addr3), 48},
		{"size of io_uring_cqe", unsafe.Sizeof(cqe), 16},
		{"io_uring_cqe.res", unsafe.Offsetof(cqe.Res), 8},
		{"io_uring_cqe.flags", unsafe.Offsetof(cqe.Flags), 12},
		{"size of io_uring_params", unsafe.Sizeof(p), 120},
		{"io_uring_params.features", unsafe.Offsetof(p.Features), 20},
		{"io_uring_params.sq_off", unsafe.Offsetof(p.SqOff), 40},
		{"io_uring_params.cq_off", unsafe.Offsetof(p.CqOff), 80},
		{"io_sqring_offsets.flags", unsafe.Offsetof(so.Flags), 16},
		{"io_sqring_offsets.array", unsafe.Offsetof(so.Array), 24},
		{"io_cqring_offsets.cqes", unsafe.Offsetof(co.Cqes), 20},
		{"io_cqring_offsets.flags", unsafe.Offsetof(co.Flags), 24},
		{"size of io_uring_buf", unsafe.Sizeof(buf), 16},
		{"io_uring_buf.len", unsafe.Offsetof(buf.Len), 8},
		{"io_uring_buf.bid", unsafe.Offsetof(buf.Bid), 12},
		{"size of io_uring_buf_reg", unsafe.Sizeof(reg), 40},
		{"io_uring_buf_reg.bgid", unsafe.Offsetof(reg.Bgid), 12},
		{"size of io_uring_getevents_arg", unsafe.Sizeof(arg), 24},
		{"io_uring_getevents_arg.ts", unsafe.Offsetof(arg.Ts), 16},
		{"io_uring_probe.ops", unsafe.Offsetof(pro.Ops), 16},
		{"size of io_uring_probe_op", unsafe.Sizeof(op), 8},
		{"size of io_uring_rsrc_register", unsafe.Sizeof(rr), 32},
	} {
		assert.Equal(t, c.want, c.got, c.name)
	}
}
