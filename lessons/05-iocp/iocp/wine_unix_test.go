//go:build unix

package iocp_test

func underWine() bool { return false }
