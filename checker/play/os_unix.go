//go:build unix

package play

const windows = false
