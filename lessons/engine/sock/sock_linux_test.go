package sock

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestAcceptKnowsThePeerOfEitherFamily(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		listener, bound, err := Listen(netip.MustParseAddrPort(addr), 10)
		if err != nil && addr == "[::1]:0" {
			t.Skip("this machine has no IPv6: ", err)
		}
		require.NoError(t, err)
		defer Close(listener)
		_, _, err = Accept(listener)
		assert.Equal(t, unix.EAGAIN, err)
		client, err := net.Dial("tcp", bound.String())
		require.NoError(t, err)
		defer client.Close()
		fd, peer, err := Accept(listener)
		require.NoError(t, err)
		defer Close(fd)
		assert.Equal(t, client.LocalAddr().String(), peer.String())
	}
}

// A crowd that connects is nothing for the garbage collector.
func TestAcceptAllocatesNothing(t *testing.T) {
	listener, bound, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), 200)
	require.NoError(t, err)
	defer Close(listener)
	for range 110 {
		client, err := net.Dial("tcp", bound.String())
		require.NoError(t, err)
		defer client.Close()
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		fd, _, err := Accept(listener)
		if err == nil {
			Close(fd)
		}
	}))
}
