package probe

import "time"

// Usage is processor time, by where it was spent.
type Usage struct {
	User   time.Duration // in the program
	System time.Duration // in the kernel, for the program
}

// Total is both together.
func (u Usage) Total() time.Duration { return u.User + u.System }

// Minus is what was used since v.
func (u Usage) Minus(v Usage) Usage {
	d := Usage{u.User - v.User, u.System - v.System}
	if d.User < 0 { // the two parts are known less well than the sum
		d = Usage{0, d.Total()}
	}
	if d.System < 0 {
		d = Usage{d.Total(), 0}
	}
	return d
}
