package main

import (
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"iolab/checker/catalogue"
	"iolab/checker/verify"
)

// The READMEs must not promise commands that do not exist.
func TestCommandsInTheREADMEs(t *testing.T) {
	dir, err := os.Getwd()
	require.NoError(t, err)
	root, err := catalogue.Root(dir)
	require.NoError(t, err)
	a := &app{out: io.Discard, err: io.Discard}
	var table map[string][]string
	require.NoError(t, json.Unmarshal([]byte(a.commandTable()), &table))
	require.NoError(t, verify.Commands(root, table))
}
