//go:build race

package solutions_test

// raceEnabled makes `go test -race` mean the solutions, which are in other
// processes.
const raceEnabled = true
