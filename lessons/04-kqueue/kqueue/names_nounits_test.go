//go:build netbsd || openbsd || dragonfly

package kqueue_test

const noteSeconds, noteMseconds, noteUseconds, noteNseconds = 0, 0, 0, 0

const noUnits = "x/sys has no names for a timer's units on this system"
