package load

// raiseFileLimit does nothing: Windows limits handles by memory, not by number.
func raiseFileLimit() {}
