package gameclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Client is a connection to a game server, for one goroutine. Bots and people use it;
// tests that look at single frames use the parts.
type Client struct {
	Conn    net.Conn
	Reader  *Reader
	Welcome WelcomeBody
	View    View

	sequence uint32
	out      []byte
}

// Options are how to join.
type Options struct {
	Spectator bool
	Token     Token         // of a player to come back as; zero: a new one
	Timeout   time.Duration // for connecting and joining; default ten seconds
}

// Dial is DialContext with a context that is never done.
func Dial(addr string, o Options) (*Client, error) {
	return DialContext(context.Background(), addr, o)
}

// DialContext connects to a server, joins, and waits for the welcome. A server that does
// not want the client makes it return a [Refusal]. When ctx is done before the welcome has
// come, it returns ctx's error at once; afterwards ctx means nothing to the client.
func DialContext(ctx context.Context, addr string, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	c, err := dial(ctx, addr, o)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err() // and not that something was closed
	}
	return c, err
}

func dial(ctx context.Context, addr string, o Options) (*Client, error) {
	dialer := net.Dialer{Timeout: o.Timeout}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// Closed and not given a deadline: Enter sets one of its own.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	c, err := Enter(conn, o)
	if !stop() && err == nil {
		err = ctx.Err() // the welcome has come, and the connection is closed
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Enter joins on a connection. It does not close conn when it fails.
func Enter(conn net.Conn, o Options) (*Client, error) {
	if o.Timeout > 0 {
		conn.SetDeadline(time.Now().Add(o.Timeout))
		defer conn.SetDeadline(time.Time{})
	}
	var flags byte
	if o.Spectator {
		flags |= Spectator
	}
	if _, err := conn.Write(AppendJoin(nil, flags, o.Token)); err != nil {
		return nil, err
	}
	c := &Client{Conn: conn, Reader: NewReader(conn)}
	t, body, err := c.Reader.Next()
	switch {
	case err != nil:
		return nil, err
	case t == Error:
		return nil, refusal(body)
	case t != Welcome:
		return nil, fmt.Errorf("the answer to a join was a frame of type %d, not a welcome", t)
	}
	if c.Welcome, err = ParseWelcome(body); err != nil {
		return nil, err
	}
	c.sequence = c.Welcome.Sequence
	return c, nil
}

// Move sends the next input: a step of at most MaxSpeed.
func (c *Client) Move(dx, dy int16) error {
	c.sequence++
	return c.send(AppendInput(c.out[:0], c.sequence, dx, dy))
}

// Ping sends a ping; Next returns its pong.
func (c *Client) Ping(nonce uint64) error { return c.send(AppendPing(c.out[:0], nonce)) }

// Leave takes the player out of the world and closes the connection, when the server has
// closed its side or after a second. One that is closed with snapshots unread is reset, and
// the leave might be lost with it: then the player would stand there until its place is
// given up. Another goroutine may be reading meanwhile.
func (c *Client) Leave() error {
	c.Conn.SetDeadline(time.Now().Add(time.Second))
	err := c.send(AppendLeave(c.out[:0]))
	if err == nil {
		io.Copy(io.Discard, c.Conn)
	}
	return errors.Join(err, c.Conn.Close())
}

func (c *Client) send(p []byte) error {
	c.out = p
	_, err := c.Conn.Write(p)
	return err
}

// Next reads a frame. A snapshot is applied to the view and acknowledged. An error frame
// becomes a [Refusal].
func (c *Client) Next() (t byte, body []byte, err error) {
	t, body, err = c.Reader.Next()
	if err != nil {
		return 0, nil, err
	}
	switch t {
	case Snapshot:
		if _, err = c.View.Apply(body); err == nil {
			err = c.send(AppendAck(c.out[:0], c.View.Tick))
		}
	case Error:
		err = refusal(body)
	case Pong:
	default:
		err = fmt.Errorf("a frame of type %d", t)
	}
	return t, body, err
}

// NextHead is Next for a client that does not look: snapshots are acknowledged, not
// applied. It costs next to nothing, so that one process can be a thousand bots.
func (c *Client) NextHead() (t byte, h SnapshotHead, err error) {
	t, body, err := c.Reader.Next()
	if err != nil {
		return 0, h, err
	}
	switch t {
	case Snapshot:
		if h, err = ParseSnapshot(body); err == nil {
			err = c.send(AppendAck(c.out[:0], h.Tick))
		}
	case Error:
		err = refusal(body)
	}
	return t, h, err
}

// Me is this client's player as the view has it.
func (c *Client) Me() (Player, bool) {
	p, ok := c.View.Players[c.Welcome.ID]
	return p, ok
}

func refusal(body []byte) error {
	r, err := ParseError(body)
	if err != nil {
		return err
	}
	return r
}

// IsRefusal says whether err is a refusal with this code.
func IsRefusal(err error, code byte) bool {
	var r Refusal
	return errors.As(err, &r) && r.Code == code
}
