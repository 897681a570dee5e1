package report

import "strings"

// PanicMeaning is what the runtime's message, when a program dies, says of the mistake.
func PanicMeaning(message string) string {
	switch {
	case strings.Contains(message, "all goroutines are asleep"):
		return "every goroutine waits for another one: a lock taken twice, or a channel nobody serves"
	case strings.Contains(message, "concurrent map"):
		return "two goroutines use one map: everything but Addr and Wake belongs to the loop"
	case strings.Contains(message, "stack overflow"):
		return "a function calls itself for ever"
	case strings.Contains(message, "nil pointer"):
		return "something that is used at that line was never set, or was set to nil when its connection closed"
	case strings.Contains(message, "index out of range"):
		return "an index (a descriptor, an event's data, a slot) is used without looking whether the table has it"
	}
	return "the innermost line of your files in the stack is the place"
}
