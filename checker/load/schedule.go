package load

import "time"

// schedule says when the messages of an open loop are due. Message k (from 0) is due at
// start + k/rate, on connection k modulo the number of connections; so the time at which
// any message was due need not be remembered, whenever it is sent and whenever it comes
// back.
//
// All times are durations since an instant of the caller's choice.
type schedule struct {
	start time.Duration
	rate  float64 // messages a second
	conns int64
}

// due is when message k is due.
func (s schedule) due(k int64) time.Duration {
	return s.start + time.Duration(float64(k)/s.rate*float64(time.Second))
}

// dueOn is when the nth message (from 0) of connection conn is due.
func (s schedule) dueOn(conn int, n int64) time.Duration { return s.due(n*s.conns + int64(conn)) }

// on is the connection that message k goes to.
func (s schedule) on(k int64) int { return int(k % s.conns) }

// account is the measurement of an open loop: which messages belong to the window, how
// late they were sent, and how late they came back.
type account struct {
	schedule
	from, to      time.Duration // the window
	inside        bool          // in the window as it is measured, which ends when the last turn in it does
	begun         bool          // it has been inside
	latency, late *Histogram    // of all that were due in the window
	sentIn        int64         // due in the window, and sent in it
	backIn        int64         // due in the window, and back in it
	lost          int64
}

// in tells whether a message that was due then belongs to the window.
func (a *account) in(due time.Duration) bool { return due >= a.from && due < a.to }

// enter notes whether the measured window is open.
func (a *account) enter(inside bool) { a.inside, a.begun = inside, a.begun || inside }

// sent notes that message k goes out at now.
func (a *account) sent(k int64, now time.Duration) {
	if due := a.due(k); a.in(due) {
		a.late.Add(now - due)
		if a.inside || !a.begun { // due in the window already, whose beginning is noted late
			a.sentIn++
		}
	}
}

// back notes that the nth message of connection conn has come back at now.
func (a *account) back(conn int, n int64, now time.Duration) {
	if due := a.dueOn(conn, n); a.in(due) {
		a.latency.Add(now - due)
		if a.inside {
			a.backIn++
		}
	}
}

// missing notes that messages from the nth of connection conn to before the endth were
// not back at now.
func (a *account) missing(conn int, n, end int64, now time.Duration) {
	for ; n < end; n++ {
		if due := a.dueOn(conn, n); a.in(due) {
			a.latency.Add(now - due)
			a.lost++
		}
	}
}

// fill puts the account into r.
func (a *account) fill(r *Result) {
	r.Due, r.Sent, r.Answered, r.Lost, r.Late = a.late.TotalCount(), a.sentIn, a.backIn, a.lost, a.late
}
