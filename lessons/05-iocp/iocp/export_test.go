//go:build unix

package iocp

// InFlight is the number of operations whose memory is the kernel's, and Sockets and Ports
// the number of handles.
func InFlight() int { kernel.Lock(); defer kernel.Unlock(); return len(kernel.inFlight) }
func Sockets() int  { kernel.Lock(); defer kernel.Unlock(); return len(kernel.sockets) }
func Ports() int    { kernel.Lock(); defer kernel.Unlock(); return len(kernel.ports) }
