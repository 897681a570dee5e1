package gameserver

// FileLimit is the number of descriptors that a process may have here: Windows sets
// none that a game would meet.
func FileLimit() uint64 { return 16384 }
