//go:build unix && !race

package iocp_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"iolab/lessons/05-iocp/iocp"
)

// The race detector, too, finds what this test does on purpose.
func TestAChangedOverlappedIsNamed(t *testing.T) {
	k := newKit(t)
	s, peer := k.pair()
	o, err := k.recv(s, 10)
	require.Equal(t, iocp.ERROR_IO_PENDING, err)
	o.Overlapped = iocp.Overlapped{}
	k.write(peer, "abc")
	assert.Equal(t, "overlapped-changed", violation(t, k.takes()))
}
