// Package gameclient is the client's side of lesson 07's protocol: for the lesson's
// tests, for bots, and for people. It is written on its own, from the table in the
// lesson's text, and shares no code with the server: a mistake made twice would be
// none.
package gameclient

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The frames' types.
const (
	Join  byte = 1
	Input byte = 2
	Ack   byte = 3
	Ping  byte = 4
	Leave byte = 5

	Welcome  byte = 16
	Snapshot byte = 17
	Pong     byte = 18
	Error    byte = 19
)

// Version is the protocol's.
const Version = 1

// Spectator is the join flag of a client that only looks on.
const Spectator = 1

// The codes of an error frame.
const (
	ErrorProtocol byte = 1 + iota
	ErrorVersion
	ErrorFull
	ErrorToken
	ErrorIdle
	ErrorFlood
	ErrorReplaced
	ErrorShutdown
)

// Tile is the side of a tile in the world's unit, Radius half the side of a player,
// MaxSpeed the longest step of a tick, CellTiles the side of a cell of the spatial grid
// in tiles, and History the number of ticks that a baseline may be old.
const (
	Tile      = 256
	Radius    = 96
	MaxSpeed  = 64
	CellTiles = 8
	History   = 32
)

// Token is the secret by which a player comes back.
type Token [16]byte

// AppendFrame appends a frame of type t with this body.
func AppendFrame(dst []byte, t byte, body ...byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(body)))
	return append(append(dst, t), body...)
}

// AppendJoin appends a join. A zero token asks for a new player.
func AppendJoin(dst []byte, flags byte, token Token) []byte {
	dst = append(dst, 0, 0, 0, 19, Join, Version, flags)
	return append(dst, token[:]...)
}

// AppendInput appends an input: the step that the player wants to make.
func AppendInput(dst []byte, sequence uint32, dx, dy int16) []byte {
	dst = append(dst, 0, 0, 0, 9, Input)
	dst = binary.BigEndian.AppendUint32(dst, sequence)
	dst = binary.BigEndian.AppendUint16(dst, uint16(dx))
	return binary.BigEndian.AppendUint16(dst, uint16(dy))
}

// AppendAck appends the acknowledgement of the snapshot of tick.
func AppendAck(dst []byte, tick uint32) []byte {
	dst = append(dst, 0, 0, 0, 5, Ack)
	return binary.BigEndian.AppendUint32(dst, tick)
}

// AppendPing appends a ping.
func AppendPing(dst []byte, nonce uint64) []byte {
	dst = append(dst, 0, 0, 0, 9, Ping)
	return binary.BigEndian.AppendUint64(dst, nonce)
}

// AppendLeave appends a leave.
func AppendLeave(dst []byte) []byte { return append(dst, 0, 0, 0, 1, Leave) }

// Reader reads a server's frames.
type Reader struct {
	r     *bufio.Reader
	frame []byte
}

// maxFrame is the longest frame that is believed of a server: all players a world can
// have, and as many that are gone.
const maxFrame = 2 << 20

// maxSide is the longest side of a world, in tiles, that is believed of a server.
const maxSide = 4096

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, 16<<10)} }

// Next returns the next frame's type and body; the body is valid until the next call.
func (r *Reader) Next() (t byte, body []byte, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of the length %d", n)
	}
	if int(n) > cap(r.frame) {
		r.frame = make([]byte, n)
	}
	frame := r.frame[:n]
	if _, err := io.ReadFull(r.r, frame); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return frame[0], frame[1:], nil
}

// Buffered is the number of bytes that have been read and not yet returned.
func (r *Reader) Buffered() int { return r.r.Buffered() }

// WelcomeBody is the body of a welcome.
type WelcomeBody struct {
	ID            uint32
	Token         Token
	Sequence      uint32 // of the last input that was applied
	Tick          uint32
	Rate          int
	Width, Height int
	Seed          uint64
}

// ParseWelcome parses the body of a welcome.
func ParseWelcome(body []byte) (w WelcomeBody, err error) {
	if len(body) != 42 {
		return w, fmt.Errorf("a welcome of %d bytes, not 42", len(body))
	}
	w.ID = binary.BigEndian.Uint32(body)
	copy(w.Token[:], body[4:])
	w.Sequence = binary.BigEndian.Uint32(body[20:])
	w.Tick = binary.BigEndian.Uint32(body[24:])
	w.Rate = int(binary.BigEndian.Uint16(body[28:]))
	w.Width = int(binary.BigEndian.Uint16(body[30:]))
	w.Height = int(binary.BigEndian.Uint16(body[32:]))
	w.Seed = binary.BigEndian.Uint64(body[34:])
	if w.Rate < 1 || min(w.Width, w.Height) < 1 || max(w.Width, w.Height) > maxSide {
		return w, fmt.Errorf("a welcome to a world of %d by %d tiles at %d ticks a second", w.Width, w.Height, w.Rate)
	}
	return w, nil
}

// ParsePong parses the body of a pong.
func ParsePong(body []byte) (nonce uint64, tick uint32, err error) {
	if len(body) != 12 {
		return 0, 0, fmt.Errorf("a pong of %d bytes, not 12", len(body))
	}
	return binary.BigEndian.Uint64(body), binary.BigEndian.Uint32(body[8:]), nil
}

// Refusal is an error frame: why the server does not serve this client.
type Refusal struct {
	Code byte
	Text string
}

func (r Refusal) Error() string { return r.Text }

// ParseError parses the body of an error frame.
func ParseError(body []byte) (Refusal, error) {
	if len(body) < 1 {
		return Refusal{}, errors.New("an error frame without a code")
	}
	return Refusal{Code: body[0], Text: string(body[1:])}, nil
}

// Player is one player as a snapshot has it.
type Player struct {
	ID       uint32
	X, Y     int32
	Sequence uint32
}

// SnapshotHead is what a snapshot begins with. Who only acknowledges needs no more.
type SnapshotHead struct {
	Tick, Base    uint32 // base 0: the snapshot is full
	Changed, Gone int    // how many records, and how many ids, follow
}

const headSize, recordSize, idSize = 12, 16, 4

// ParseSnapshot parses the head of a snapshot, and sees whether what follows has the
// right size.
func ParseSnapshot(body []byte) (h SnapshotHead, err error) {
	if len(body) < headSize {
		return h, fmt.Errorf("a snapshot of %d bytes", len(body))
	}
	h.Tick, h.Base = binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	h.Changed, h.Gone = int(binary.BigEndian.Uint16(body[8:])), int(binary.BigEndian.Uint16(body[10:]))
	if want := headSize + h.Changed*recordSize + h.Gone*idSize; len(body) != want {
		return h, fmt.Errorf("a snapshot of %d bytes; with %d changed and %d gone it should have %d", len(body), h.Changed, h.Gone, want)
	}
	return h, nil
}

// player is record i of a snapshot.
func player(body []byte, i int) Player {
	p := body[headSize+i*recordSize:]
	return Player{
		ID:       binary.BigEndian.Uint32(p),
		X:        int32(binary.BigEndian.Uint32(p[4:])),
		Y:        int32(binary.BigEndian.Uint32(p[8:])),
		Sequence: binary.BigEndian.Uint32(p[12:]),
	}
}

// Find returns what a snapshot, whose head is h, says of the player id, if it says
// something.
func Find(body []byte, h SnapshotHead, id uint32) (Player, bool) {
	for i := range h.Changed {
		if p := player(body, i); p.ID == id {
			return p, true
		}
	}
	return Player{}, false
}

// gone is id i of those that are gone.
func gone(body []byte, h SnapshotHead, i int) uint32 {
	return binary.BigEndian.Uint32(body[headSize+h.Changed*recordSize+i*idSize:])
}
