package gameloop

import (
	"encoding/binary"
	"errors"
)

// A frame on the wire is a length (4 bytes, of what follows), a type (1 byte) and a
// body. All numbers are big-endian. What a client may send is short and has a fixed
// size, so everything else is refused before a byte of it is kept.

// FrameType is the first byte of a frame.
type FrameType byte

// The frames a client sends.
const (
	FrameJoin  FrameType = 1 + iota // version 1, flags 1, token 16 (zero: a new player)
	FrameInput                      // sequence 4, dx 2, dy 2
	FrameAck                        // tick 4: this snapshot is complete at the client
	FramePing                       // nonce 8
	FrameLeave                      // nothing
)

// The frames the server sends.
const (
	FrameWelcome  FrameType = 16 + iota // id 4, token 16, sequence 4, tick 4, rate 2, width 2, height 2, seed 8
	FrameSnapshot                       // tick 4, base 4 (0: full), changed 2, gone 2, records, ids
	FramePong                           // nonce 8, tick 4
	FrameError                          // code 1, text
)

// Version is the protocol's version; a join with another is refused.
const Version = 1

// JoinSpectator is the join flag of a client that only looks on: it has no player,
// and is sent the whole world in full at every tick.
const JoinSpectator = 1

// Sizes in bytes.
const (
	lengthSize = 4
	recordSize = 16 // id 4, x 4, y 4, sequence 4

	// MaxClientFrame is the longest frame a client may send: a join, without its length.
	MaxClientFrame = 1 + 18
)

// ErrorCode says why the server ends a connection.
type ErrorCode byte

// Why the server ends a connection.
const (
	ErrorProtocol ErrorCode = 1 + iota // not a frame of this protocol, or not at this point
	ErrorVersion                       // another version of the protocol
	ErrorFull                          // no room for one more player
	ErrorToken                         // the token is nobody's (any more)
	ErrorIdle                          // nothing was heard of the client for too long
	ErrorFlood                         // too many frames
	ErrorReplaced                      // the player has joined again on another connection
	ErrorShutdown                      // the server ends
)

// Token is the secret by which a player whose connection broke comes back.
type Token [16]byte

// Input is one step a player wants to make: at most [MaxSpeed] far, in the world's
// units. Sequence numbers begin at 1 and grow by 1.
type Input struct {
	Sequence uint32
	DX, DY   int16
}

// ErrFrame is what [Decoder.Next] returns for a stream that is not of this protocol.
var ErrFrame = errors.New("not a frame of this protocol")

// Decoder cuts a stream into frames. TCP has no messages: a frame comes in pieces, or
// many in one piece. The zero value is ready; it keeps at most one frame that is not
// complete.
type Decoder struct {
	part []byte // the beginning of a frame, with its length
}

// Next returns the next frame of data, the type and the body, and the rest of data. A
// type of 0 says that the next frame is not complete: what there is of it is kept for
// the next call, and the rest is empty. The body is valid until the next call, and for
// no longer than data.
func (d *Decoder) Next(data []byte) (t FrameType, body, rest []byte, err error) {
	if len(d.part) == 0 && len(data) >= lengthSize { // the usual case: nothing to copy
		n, err := frameLength(data)
		if err != nil {
			return 0, nil, nil, err
		}
		if end := lengthSize + n; len(data) >= end {
			return whole(data[lengthSize:end], data[end:])
		}
	}
	if data = d.fill(lengthSize, data); len(d.part) < lengthSize {
		return 0, nil, nil, nil
	}
	n, err := frameLength(d.part)
	if err != nil {
		return 0, nil, nil, err
	}
	if data = d.fill(lengthSize+n, data); len(d.part) < lengthSize+n {
		return 0, nil, nil, nil
	}
	frame := d.part[lengthSize:]
	d.part = d.part[:0]
	return whole(frame, data)
}

// whole is what Next returns of a frame. There is no type 0, which would say that the
// frame is not complete.
func whole(frame, rest []byte) (t FrameType, body, left []byte, err error) {
	if frame[0] == 0 {
		return 0, nil, nil, ErrFrame
	}
	return FrameType(frame[0]), frame[1:], rest, nil
}

// fill moves bytes from data until there are want in part, and returns the rest.
func (d *Decoder) fill(want int, data []byte) (rest []byte) {
	n := min(max(want-len(d.part), 0), len(data))
	d.part = append(d.part, data[:n]...)
	return data[n:]
}

// frameLength is the length that p begins with. It is checked before anything is
// kept: four bytes of a stranger's must not make the server wait for 4 GiB.
func frameLength(p []byte) (int, error) {
	n := binary.BigEndian.Uint32(p)
	if n < 1 || n > MaxClientFrame {
		return 0, ErrFrame
	}
	return int(n), nil
}

// Join is the body of a join.
type Join struct {
	Version byte
	Flags   byte
	Token   Token
}

// parseJoin, like the other parse functions, says whether body has the right size.
func parseJoin(body []byte) (j Join, ok bool) {
	if len(body) != 2+len(j.Token) {
		return j, false
	}
	j.Version, j.Flags = body[0], body[1]
	copy(j.Token[:], body[2:])
	return j, true
}

func parseInput(body []byte) (in Input, ok bool) {
	if len(body) != 8 {
		return in, false
	}
	return Input{
		Sequence: binary.BigEndian.Uint32(body),
		DX:       int16(binary.BigEndian.Uint16(body[4:])),
		DY:       int16(binary.BigEndian.Uint16(body[6:])),
	}, true
}

func parseAck(body []byte) (tick uint32, ok bool) {
	if len(body) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(body), true
}

func parsePing(body []byte) (nonce uint64, ok bool) {
	if len(body) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(body), true
}

// begin appends the head of a frame of type t whose length is not yet known; end
// fills it in. at is where the frame begins.
func begin(dst []byte, t FrameType) (frame []byte, at int) {
	return append(dst, 0, 0, 0, 0, byte(t)), len(dst)
}

func end(dst []byte, at int) []byte {
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-lengthSize))
	return dst
}

// Welcome is the answer to a join.
type Welcome struct {
	ID            uint32 // the player, 0 for a spectator
	Token         Token
	Sequence      uint32 // of the last input that was applied: go on after it
	Tick          uint32
	Rate          int // ticks a second
	Width, Height int // of the world, in tiles
	Seed          uint64
}

func appendWelcome(dst []byte, w Welcome) []byte {
	dst, at := begin(dst, FrameWelcome)
	dst = binary.BigEndian.AppendUint32(dst, w.ID)
	dst = append(dst, w.Token[:]...)
	dst = binary.BigEndian.AppendUint32(dst, w.Sequence)
	dst = binary.BigEndian.AppendUint32(dst, w.Tick)
	dst = binary.BigEndian.AppendUint16(dst, uint16(w.Rate))
	dst = binary.BigEndian.AppendUint16(dst, uint16(w.Width))
	dst = binary.BigEndian.AppendUint16(dst, uint16(w.Height))
	dst = binary.BigEndian.AppendUint64(dst, w.Seed)
	return end(dst, at)
}

func appendPong(dst []byte, nonce uint64, tick uint32) []byte {
	dst, at := begin(dst, FramePong)
	dst = binary.BigEndian.AppendUint64(dst, nonce)
	dst = binary.BigEndian.AppendUint32(dst, tick)
	return end(dst, at)
}

func appendError(dst []byte, code ErrorCode, text string) []byte {
	dst, at := begin(dst, FrameError)
	dst = append(dst, byte(code))
	dst = append(dst, text...)
	return end(dst, at)
}

// view is what one snapshot is of: everything, or what is near a cell; and against
// which earlier snapshot. Clients with the same view are sent the same bytes.
type view struct {
	cell     int32  // of the spatial grid; -1: the whole world
	base     uint32 // the tick the client has, 0: none, so the snapshot is full
	baseCell int32  // the cell of that snapshot
}

// encoder makes snapshots. It keeps its memory from one to the next.
type encoder struct {
	slots []int32
}

// appendSnapshot appends the snapshot of v: the players in it that base has not, or not
// in the same state, and the ids of those that only base has. base is nil for a full
// snapshot.
func (e *encoder) appendSnapshot(dst []byte, tick uint32, now, base *World, v view) []byte {
	dst, at := begin(dst, FrameSnapshot)
	dst = binary.BigEndian.AppendUint32(dst, tick)
	dst = binary.BigEndian.AppendUint32(dst, v.base)
	counts := len(dst)
	dst = append(dst, 0, 0, 0, 0)

	changed, gone := 0, 0
	e.slots = now.Near(e.slots[:0], v.cell)
	for _, slot := range e.slots {
		if base == nil || !unchanged(now, base, slot, v) {
			dst = appendRecord(dst, now.Players[slot])
			changed++
		}
	}
	if base != nil {
		dst, gone = e.appendGone(dst, now, base, v)
	}
	binary.BigEndian.PutUint16(dst[counts:], uint16(changed))
	binary.BigEndian.PutUint16(dst[counts+2:], uint16(gone))
	return end(dst, at)
}

// unchanged says whether who has the snapshot base knows all about slot.
func unchanged(now, base *World, slot int32, v view) bool {
	return base.Players[slot] == now.Players[slot] && base.isNear(slot, v.baseCell)
}

// appendGone appends the ids of those that the snapshot base has and that of now has
// not: they have left the world, or the view.
func (e *encoder) appendGone(dst []byte, now, base *World, v view) (_ []byte, gone int) {
	e.slots = base.Near(e.slots[:0], v.baseCell)
	for _, slot := range e.slots {
		id := base.Players[slot].ID
		if now.Players[slot].ID != id || !now.isNear(slot, v.cell) { // a slot is used again
			dst = binary.BigEndian.AppendUint32(dst, id)
			gone++
		}
	}
	return dst, gone
}

func appendRecord(dst []byte, p Player) []byte {
	dst = binary.BigEndian.AppendUint32(dst, p.ID)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.X))
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.Y))
	return binary.BigEndian.AppendUint32(dst, p.Sequence)
}
