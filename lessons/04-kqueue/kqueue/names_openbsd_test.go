package kqueue_test

const evfiltUser, noteTrigger, noteFFNop, noteFFAnd, noteFFOr, noteFFCopy, noteFFMask = 0, 0, 0, 0, 0, 0, 0

const noUserNames = "x/sys has no EVFILT_USER for this system"
