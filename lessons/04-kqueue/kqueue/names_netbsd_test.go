package kqueue_test

import "iolab/lessons/04-kqueue/kqueue"

func setUdata(k *kqueue.Kevent_t, n int) { assign(&k.Udata, n) }

func hasUdata(k *kqueue.Kevent_t, n int) bool { return int(k.Udata) == n }

func assign[T int32 | int64](field *T, n int) { *field = T(n) }
