//go:build linux || darwin || freebsd || openbsd || dragonfly

package kqueue_test

import "iolab/lessons/04-kqueue/kqueue"

// tags are never freed, and no stack: a kernel may keep their addresses.
var tags [16]byte

func setUdata(k *kqueue.Kevent_t, n int)      { k.Udata = &tags[n] }
func hasUdata(k *kqueue.Kevent_t, n int) bool { return k.Udata == &tags[n] }
