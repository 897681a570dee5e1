//go:build linux || windows

package solutions_test

import (
	"fmt"
	"runtime"
	"testing"

	"iolab/checker/conformance"
	"iolab/checker/labtest"
	"iolab/lessons/engine"
	iocploop "iolab/solutions/05-iocp"
)

// iocp is lesson 05's solution in the given modes.
func iocp(modes iocploop.Modes) conformance.Engine {
	return conformance.Of(func(cfg engine.Config, h engine.Handler) (*iocploop.Engine, error) {
		return iocploop.NewWith(cfg, h, modes)
	})
}

// BenchmarkEcho is a round trip of 64 bytes on lesson 05's engine in each mode: what it
// costs, client and (emulated) kernel included, and how many calls it takes.
func BenchmarkEcho(b *testing.B) {
	for _, modes := range []iocploop.Modes{{}, {SkipOnSuccess: true}, {ZeroByte: true}, {SkipOnSuccess: true, ZeroByte: true}} {
		b.Run(fmt.Sprintf("skip=%v,zero-byte=%v", modes.SkipOnSuccess, modes.ZeroByte), func(b *testing.B) {
			lab := labtest.Start(b, iocp(modes))
			client := lab.Dial()
			message := labtest.Pattern(1, 64)
			client.Echo(message)
			before, cpu := lab.Stats(), lab.ProcessorTime()
			b.ResetTimer()
			for range b.N {
				client.EchoQuietly(message)
			}
			b.StopTimer()
			b.ReportMetric(float64((lab.ProcessorTime()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
			after := lab.Stats()
			b.ReportMetric(float64(after.Total()-before.Total())/float64(b.N), "syscalls/op")
		})
	}
}

// BenchmarkIdleConnection is what a silent connection holds on Go's heap, with receives
// of no bytes and without.
func BenchmarkIdleConnection(b *testing.B) {
	for _, zero := range []bool{true, false} {
		b.Run(fmt.Sprintf("zero-byte=%v", zero), func(b *testing.B) {
			const clients = 500
			lab := labtest.Start(b, iocp(iocploop.Modes{SkipOnSuccess: true, ZeroByte: zero}))
			heap := func() uint64 {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				return m.HeapAlloc
			}
			before := heap()
			lab.Crowd(clients)
			lab.WantCount(clients)
			b.ReportMetric(float64(heap()-before)/clients, "B/connection")
		})
	}
}
