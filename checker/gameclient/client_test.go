package gameclient

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// mute is a server that accepts and says nothing. What it was sent comes from the channel.
func mute(t *testing.T) (addr string, joins <-chan []byte) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	got := make(chan []byte, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		part := make([]byte, 64)
		n, _ := conn.Read(part)
		got <- part[:n]
		conn.Read(part) // until the client is gone
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String(), got
}

func TestJoiningEndsWithTheContext(t *testing.T) {
	addr, joins := mute(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := DialContext(ctx, addr, Options{Timeout: time.Hour})
		ended <- err
	}()
	assert.Equal(t, AppendJoin(nil, 0, Token{}), <-joins)
	cancel()
	select {
	case err := <-ended:
		assert.Equal(t, context.Canceled, err)
	case <-time.After(time.Minute):
		t.Fatal("it waits for the welcome although nobody wants it any more")
	}
	_, err := DialContext(ctx, addr, Options{})
	assert.Equal(t, context.Canceled, err, "before it connects, too")
}

func TestJoiningEndsAfterTheTimeout(t *testing.T) {
	addr, _ := mute(t)
	_, err := Dial(addr, Options{Timeout: 50 * time.Millisecond})
	var timeout net.Error
	require.ErrorAs(t, err, &timeout)
	assert.True(t, timeout.Timeout())
}

// A client that is sent more than it reads does not close before the server has taken its
// leave: that would be a reset, and a server that writes next would never read the leave.
func TestALeaveIsNotOvertakenByAReset(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	server, err := l.Accept()
	require.NoError(t, err)
	defer server.Close()
	_, err = server.Write(make([]byte, 1000))
	require.NoError(t, err)
	left := make(chan error, 1)
	go func() { left <- (&Client{Conn: conn, Reader: NewReader(conn)}).Leave() }()
	frame := make([]byte, 5)
	_, err = io.ReadFull(server, frame)
	require.NoError(t, err)
	assert.Equal(t, AppendLeave(nil), frame)
	server.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = server.Read(frame)
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "it waits for the server's end of data")
	server.Close()
	assert.NoError(t, <-left)
	_, err = conn.Write(frame)
	assert.ErrorIs(t, err, net.ErrClosed)
}
