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
)

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
func (b *Buffers) register(r *Ring) (err error) {
	if b.memory, err = mapMemory(b.count * int(unsafe.Sizeof(abi.Buf{}))); err != nil {
		return err
	}
	// SAFETY: b.memory is mapped until Close, which takes the ring from the kernel first.
	b.entries = unsafe.Slice((*abi.Buf)(unsafe.Pointer(&b.memory[0])), b.count)
	reg := abi.BufReg{RingAddr: addrOf(&b.memory[0]), RingEntries: uint32(b.count), Bgid: b.group}
	if err := r.register(abi.IORING_REGISTER_PBUF_RING, unsafe.Pointer(&reg), 1); err != nil {
		return fmt.Errorf("buffer ring of %d buffers: %w", b.count, err)
	}
	b.ring = r
	return nil
}

// Take returns a buffer that nobody has, for a receive without a buffer ring.
func (b *Buffers) Take() (id uint32, err error) {
	if len(b.free) == 0 {
		if err := b.grow(); err != nil {
			return 0, err
		}
	}
	id = b.free[len(b.free)-1]
	b.free = b.free[:len(b.free)-1]
	return id, nil
}

// Data is the first n bytes of buffer id.
func (b *Buffers) Data(id uint32, n int) []byte {
	start := int(id) % b.count * b.size
	return b.slabs[int(id)/b.count][start : start+n : start+b.size]
}

// Give gives buffer id back: with a buffer ring to the kernel, which gets it with the
// next Publish.
func (b *Buffers) Give(id uint32) {
	if b.ring == nil {
		b.free = append(b.free, id)
		return
	}
	at := b.tail & uint16(b.count-1)
	entry := &b.entries[at]
	entry.Addr, entry.Len = addrOf(&b.Data(id, b.size)[0]), uint32(b.size)
	if at == 0 {
		b.mirror = uint16(id) // its Bid is written together with the tail
	} else {
		entry.Bid = uint16(id)
	}
	b.tail++
	b.kernels++
}

// Claim returns the buffer that a completion with these flags names, if it names one.
// From here on it is this side's.
func (b *Buffers) Claim(flags uint32) (id uint32, ok bool) {
	if flags&abi.IORING_CQE_F_BUFFER == 0 {
		return 0, false
	}
	b.kernels--
	return flags >> abi.IORING_CQE_BUFFER_SHIFT, true
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
func (b *Buffers) Publish() {
	if b.ring == nil {
		return
	}
	var pair [4]byte
	binary.NativeEndian.PutUint16(pair[0:], b.mirror)
	binary.NativeEndian.PutUint16(pair[2:], b.tail)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&b.entries[0].Bid)), binary.NativeEndian.Uint32(pair[:]))
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
func (b *Blocks) Append(block, p []byte) ([]byte, error) {
	if len(block)+len(p) > cap(block) {
		larger, err := b.get(len(block) + len(p))
		if err != nil {
			return block, err
		}
		larger = append(larger, block...)
		b.Put(block)
		block = larger
	}
	return append(block, p...), nil
}

// get returns an empty block with room for n bytes.
func (b *Blocks) get(n int) ([]byte, error) {
	class := blockClass(n)
	if class >= blockClasses {
		mem, err := mapMemory(smallestBlock << (2 * class))
		return mem[:0], err
	}
	if len(b.free[class]) == 0 {
		slab, err := mapMemory(blockSlab)
		if err != nil {
			return nil, err
		}
		b.slabs = append(b.slabs, slab)
		for size := smallestBlock << (2 * class); len(slab) > 0; slab = slab[size:] {
			b.free[class] = append(b.free[class], slab[:0:size])
		}
	}
	last := len(b.free[class]) - 1
	block := b.free[class][last]
	b.free[class] = b.free[class][:last]
	return block, nil
}

// Put gives a block back.
func (b *Blocks) Put(block []byte) {
	switch class := blockClass(cap(block)); {
	case cap(block) == 0:
	case class >= blockClasses:
		_ = unix.Munmap(block[:cap(block)])
	default:
		b.free[class] = append(b.free[class], block[:0])
	}
}

// Close unmaps the blocks, all of which must have been given back.
func (b *Blocks) Close() {
	for _, slab := range b.slabs {
		_ = unix.Munmap(slab)
	}
	*b = Blocks{}
}
