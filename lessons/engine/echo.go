package engine

import "errors"

// Echo is the service of lessons 1 to 6: it sends back what it receives.
type Echo struct{}

// OnOpen does nothing.
func (Echo) OnOpen(Conn) {}

// OnData sends data back. The engine stops reading from a client that does not
// read its echo, so the queue stays near the high-water mark. Where it is at its
// hard limit all the same, an echo with a gap is of no use to anybody; after any
// other error the engine has ended the connection already.
func (Echo) OnData(c Conn, data []byte) {
	if err := c.Send(data); errors.Is(err, ErrBackpressure) {
		c.Close()
	}
}

// OnClose does nothing.
func (Echo) OnClose(Conn, error) {}
