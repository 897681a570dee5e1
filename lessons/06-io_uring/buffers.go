//go:build linux

package uringloop

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"iolab/lessons/06-io_uring/abi"
	"iolab/lessons/engine"
)

//lint:file-ignore U1000 most of it waits for its step

// What the steps need and the skeleton does not use yet. It goes when you are done.
var _ = []any{binary.NativeEndian, fmt.Errorf, atomic.LoadUint32}

// Memory that the kernel works in is mmap'ed: Go's garbage collector has never heard of
// it, so it is neither moved nor freed while an operation is under way, and an address
// in a submission, which is only a number, stays right.

func mapMemory(size int) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	return mem, os.NewSyscallError("mmap", err)
}

// Buffers are what the kernel receives into, all of one size and known by a number. With
// [BufferRing] they lie in a ring of provided buffers: the kernel takes one when bytes
// are there for it, not when the operation starts, so that a thousand silent connections
// wait with no buffer at all. Without, each receive has to be given one by [Buffers.Take].
//
// A buffer belongs to the kernel from Publish (or the submission) until a completion
// names it, and to this side from there until Give.
type Buffers struct {
	ring  *Ring // nil if there is no buffer ring
	group uint16
	count int // in one slab
	size  int
	slabs [][]byte
	free  []uint32 // without a buffer ring: those that nobody has

	entries []abi.Buf // the buffer ring
	memory  []byte
	kernels int    // buffers that the kernel has, or gets with the next Publish
	tail    uint16 // ours; the kernel has seen it up to Publish
	mirror  uint16 // the Bid in entry 0
}

// NewBuffers returns count buffers of size bytes; count is a power of two. On a ring with
// [BufferRing] they become its buffer group group (io_uring_register(2),
// IORING_REGISTER_PBUF_RING), else there are more whenever Take finds none.
func NewBuffers(r *Ring, group uint16, count, size int) (*Buffers, error) {
	b := &Buffers{group: group, count: count, size: size}
	if err := b.grow(); err != nil {
		return nil, err
	}
	if !r.Features().Has(BufferRing) {
		return b, nil
	}
	if err := b.register(r); err != nil {
		b.Close()
		return nil, err
	}
	b.free = nil
	for id := range count {
		b.Give(uint32(id))
	}
	b.Publish()
	return b, nil
}

// grow maps another slab of buffers.
func (b *Buffers) grow() error {
	slab, err := mapMemory(b.count * b.size)
	if err != nil {
		return err
	}
	first := len(b.slabs) * b.count
	b.slabs = append(b.slabs, slab)
	for id := range b.count {
		b.free = append(b.free, uint32(first+id))
	}
	return nil
}

// register maps the ring's entries and tells the kernel.
//
// TODO step 4: map room for b.count entries, keep it in b (memory, and entries in it), and
// register it: IORING_REGISTER_PBUF_RING. When that has gone well b.ring is r: from then on
// Give, Publish and Close know that there is a ring.
func (b *Buffers) register(r *Ring) (err error) {
	panic(engine.NotImplemented("06.4", "Buffers.register"))
}

// Take returns a buffer that nobody has, for a receive without a buffer ring.
//
// TODO step 4: the last of b.free; if there is none, grow first.
func (b *Buffers) Take() (id uint32, err error) {
	panic(engine.NotImplemented("06.4", "Buffers.Take"))
}

// Data is the first n bytes of buffer id.
func (b *Buffers) Data(id uint32, n int) []byte {
	start := int(id) % b.count * b.size
	return b.slabs[int(id)/b.count][start : start+n : start+b.size]
}

// Give gives buffer id back: with a buffer ring to the kernel, which gets it with the
// next Publish.
//
// TODO step 4: without a buffer ring, back to b.free. Else fill in the entry at our tail,
// and count it. Who writes the Bid of entry 0?
func (b *Buffers) Give(id uint32) {
	panic(engine.NotImplemented("06.4", "Buffers.Give"))
}

// Claim returns the buffer that a completion with these flags names, if it names one.
// From here on it is this side's.
//
// TODO step 4: the number is in the upper 16 bits, if IORING_CQE_F_BUFFER says that there
// is one. The kernel has one less.
func (b *Buffers) Claim(flags uint32) (id uint32, ok bool) {
	panic(engine.NotImplemented("06.4", "Buffers.Claim"))
}

// Kernels is the number of buffers that the kernel has to choose from; without a buffer
// ring there is always one more.
func (b *Buffers) Kernels() int {
	if b.ring == nil {
		return b.count
	}
	return b.kernels
}

// Publish shows the kernel the buffers that were given back since the last time: a
// store-release of the tail, after which it may use them.
//
// The tail is 16 bits wide, and Go has no atomic store of that size. It lies in the last
// two bytes of entry 0, right behind that entry's Bid: one 32-bit store covers the two.
// That is safe because nobody but this side ever writes either of them, because the
// store repeats the Bid that is there already unless entry 0 is among the new ones, and
// because the kernel reads that Bid only when the tail says that it is there. (Entry 0 is
// 16-byte aligned, so the store is aligned too.)
//
// TODO step 4: one 32-bit store-release for the Bid of entry 0 and the tail behind it, in
// the machine's byte order.
func (b *Buffers) Publish() {
	panic(engine.NotImplemented("06.4", "Buffers.Publish"))
}

// Close takes the buffers from the kernel and unmaps them. No receive may be under way.
func (b *Buffers) Close() {
	if b.ring != nil {
		reg := abi.BufReg{Bgid: b.group}
		_ = b.ring.register(abi.IORING_UNREGISTER_PBUF_RING, unsafe.Pointer(&reg), 1)
		b.ring = nil
	}
	if b.memory != nil {
		_ = unix.Munmap(b.memory)
		b.memory, b.entries = nil, nil
	}
	for _, slab := range b.slabs {
		_ = unix.Munmap(slab)
	}
	b.slabs, b.free = nil, nil
}

// Blocks are memory for bytes that wait to be sent. They do not move: the kernel reads
// them while the loop goes on. (engine.Queue moves its bytes when it grows.) There are a
// few sizes, each four times the one before; a larger block is a mapping of its own.
type Blocks struct {
	free  [blockClasses][][]byte
	slabs [][]byte
}

const (
	smallestBlock = 256
	blockClasses  = 5 // up to 64 KiB
	blockSlab     = 256 << 10
)

// blockClass is the class of the smallest block with room for n bytes, blockClasses or
// more if that is a mapping of its own.
func blockClass(n int) int {
	return (bits.Len(uint((n-1)/smallestBlock)) + 1) / 2
}

// Append adds p to the end of block, which is moved to a larger one if there is no room.
// Not to be called while the kernel has the block.
//
// TODO step 4: append p; where there is no room, get a larger block, copy, and put the old
// one back.
func (b *Blocks) Append(block, p []byte) ([]byte, error) {
	panic(engine.NotImplemented("06.4", "Blocks.Append"))
}

// get returns an empty block with room for n bytes.
//
// TODO step 4: from the free list of its class; an empty list gets a new slab, cut into
// blocks (mind the capacity of each). A class beyond the table is a mapping of its own.
func (b *Blocks) get(n int) ([]byte, error) {
	panic(engine.NotImplemented("06.4", "Blocks.get"))
}

// Put gives a block back.
//
// TODO step 4: back to its free list, or unmapped. The class follows from the capacity.
func (b *Blocks) Put(block []byte) {
	panic(engine.NotImplemented("06.4", "Blocks.Put"))
}

// Close unmaps the blocks, all of which must have been given back.
func (b *Blocks) Close() {
	for _, slab := range b.slabs {
		_ = unix.Munmap(slab)
	}
	*b = Blocks{}
}
