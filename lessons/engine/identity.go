package engine

import "net/netip"

// Identity is the part of a [Conn] that has nothing to do with how it is served:
// its number, its peer and the handler's value. Engines embed it.
type Identity struct {
	id    uint64
	peer  netip.AddrPort
	state any
}

// NewIdentity returns the identity of connection id from peer.
func NewIdentity(id uint64, peer netip.AddrPort) Identity { return Identity{id: id, peer: peer} }

// ID implements [Conn].
func (i *Identity) ID() uint64 { return i.id }

// RemoteAddr implements [Conn].
func (i *Identity) RemoteAddr() netip.AddrPort { return i.peer }

// SetState implements [Conn].
func (i *Identity) SetState(v any) { i.state = v }

// State implements [Conn].
func (i *Identity) State() any { return i.state }
