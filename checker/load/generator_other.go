//go:build !linux

package load

func newGenerator(s Spec) generator { return newPortable(s) }
