package engine

// Queue holds the bytes that a connection has still to send, oldest first. The
// zero value is empty. It copies what it is given and keeps no memory when it is
// empty, so that an idle connection costs none.
type Queue struct {
	buf  []byte
	head int // bytes of buf already sent
}

// Len is the number of bytes queued.
func (q *Queue) Len() int { return len(q.buf) - q.head }

// Append copies p to the end of the queue.
func (q *Queue) Append(p []byte) {
	// What is sent is dropped once it is more than what is left: so fewer bytes are moved
	// than were sent, and those sent take no more room than those that are not.
	if q.head > q.Len() {
		n := copy(q.buf, q.buf[q.head:])
		q.buf, q.head = q.buf[:n], 0
	}
	q.buf = append(q.buf, p...)
}

// Bytes is what is queued, valid until the next Append or Discard.
func (q *Queue) Bytes() []byte { return q.buf[q.head:] }

// Discard drops the first n bytes: the kernel has taken them.
func (q *Queue) Discard(n int) {
	q.head += n
	if q.head == len(q.buf) {
		q.buf, q.head = nil, 0
	}
}
