package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of CPU times in /proc (USER_HZ, 100 on every Linux that Debian builds).
const tick = 10 * time.Millisecond

// stat is what /proc/PID/stat says of a process (proc(5)).
type stat struct {
	parent      int
	own, reaped time.Duration // CPU time of itself, and of children that have ended
}

func readStat(pid int) (stat, bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, false
	}
	// the name in parentheses may hold spaces: count from its end
	_, rest, ok := strings.Cut(string(text), ") ")
	if i := strings.LastIndex(string(text), ") "); ok && i >= 0 {
		rest = string(text)[i+2:]
	}
	f := strings.Fields(rest)
	if len(f) < 15 {
		return stat{}, false
	}
	n := func(i int) int {
		v, _ := strconv.Atoi(f[i]) // the kernel writes numbers
		return v
	}
	return stat{parent: n(1), own: time.Duration(n(11)+n(12)) * tick, reaped: time.Duration(n(13)+n(14)) * tick}, true
}

// treeCPU is the CPU time of a process and of all its descendants, the ended ones included.
func treeCPU(pid int) time.Duration {
	stats := map[int]stat{}
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, name := range names {
		if id, err := strconv.Atoi(filepath.Base(name)); err == nil {
			if s, ok := readStat(id); ok {
				stats[id] = s
			}
		}
	}
	var total time.Duration
	for id, s := range stats {
		for at := id; at > 1; at = stats[at].parent {
			if at == pid {
				total += s.own + s.reaped
				break
			}
		}
	}
	return total
}

// memory is the resident memory of a process in bytes.
func memory(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64) // the kernel writes a number
			return kb << 10
		}
	}
	return 0
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
