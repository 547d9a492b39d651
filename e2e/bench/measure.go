package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// process is a server whose CPU time counts.
type process struct {
	name string
	pid  func() int
}

// result is one line of the table.
type result struct {
	name     string
	goal     float64 // CPU milliseconds of all servers; 0 is none
	count    int
	failures int
	first    error              // of the failures
	cpu      map[string]float64 // milliseconds for each operation, by process
	wall     time.Duration
	p50, p99 time.Duration
}

// total is the CPU milliseconds of all servers for one operation.
func (r result) total() float64 {
	sum := 0.0
	for _, ms := range r.cpu {
		sum += ms
	}
	return sum
}

// measure runs do count times on as many workers and divides what the processes spent by the number of operations.
func measure(name string, goal float64, processes []process, workers, count int, do func(worker, n int) error) result {
	before := spent(processes)
	took := make([]time.Duration, count)
	var next, failed atomic.Int64
	var once sync.Once
	r := result{name: name, goal: goal, count: count, cpu: map[string]float64{}}
	var wg sync.WaitGroup
	start := time.Now()
	for worker := range workers {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= count {
					return
				}
				begin := time.Now()
				if err := do(worker, n); err != nil {
					failed.Add(1)
					once.Do(func() { r.first = err })
				}
				took[n] = time.Since(begin)
			}
		})
	}
	wg.Wait()
	r.wall, r.failures = time.Since(start), int(failed.Load())
	time.Sleep(50 * time.Millisecond) // what is written after the answer counts too
	for i, after := range spent(processes) {
		r.cpu[processes[i].name] = float64((after - before[i]).Microseconds()) / 1000 / float64(count)
	}
	slices.Sort(took)
	r.p50, r.p99 = took[count/2], took[min(count-1, count*99/100)]
	return r
}

func spent(processes []process) []time.Duration {
	all := make([]time.Duration, len(processes))
	for i, p := range processes {
		all[i] = treeCPU(p.pid())
	}
	return all
}

// show prints results as a table, a column for each process.
func show(results []result, processes []process) {
	fmt.Printf("%-44s %7s %8s", "CPU ms for one operation", "goal", "all")
	for _, p := range processes {
		fmt.Printf(" %10s", p.name)
	}
	fmt.Printf("   %8s %8s %7s %7s %s\n", "p50 ms", "p99 ms", "per s", "count", "failures")
	for _, r := range results {
		goal := ""
		if r.goal > 0 {
			goal = fmt.Sprintf("%.2f", r.goal)
		}
		fmt.Printf("%-44s %7s %8.2f", r.name, goal, r.total())
		for _, p := range processes {
			fmt.Printf(" %10.2f", r.cpu[p.name])
		}
		fmt.Printf("   %8.1f %8.1f %7.0f %7d %d\n", ms(r.p50), ms(r.p99), float64(r.count)/r.wall.Seconds(), r.count, r.failures)
	}
	for _, r := range results {
		if r.first != nil {
			fmt.Printf("  %s: first failure: %s\n", r.name, strings.ReplaceAll(r.first.Error(), "\n", " "))
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
