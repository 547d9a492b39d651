package rig

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"beffroi/internal/testpeer"
)

// DemoTOTPSecret is the second factor with which mdupont, jmartin and aadmin start in the demo.
const DemoTOTPSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// Demo starts the one-machine demo on free ports in a fresh folder and returns when it says that it is ready.
func Demo(t testing.TB) *Beffroi {
	t.Helper()
	binary, dir := Binary(t), testpeer.Dir(t)
	provider, portal := strconv.Itoa(testpeer.FreePort(t)), strconv.Itoa(testpeer.FreePort(t))
	b := &Beffroi{Provider: "http://localhost:" + provider, Portal: "http://127.0.0.1:" + portal, State: []string{"-dir", dir}, binary: binary}
	ready := fmt.Sprintf("\nready provider=%s portal=%s\n", b.Provider, b.Portal)
	b.Server = testpeer.StartProgram(t, testpeer.Program{
		Name: "beffroi demo", Path: binary,
		Args: []string{"demo", "-dir", dir, "-provider", net.JoinHostPort("127.0.0.1", provider), "-portal", net.JoinHostPort("127.0.0.1", portal),
			"-content", net.JoinHostPort("127.0.0.1", strconv.Itoa(testpeer.FreePort(t)))},
		Ready: func(output string) bool { return strings.Contains("\n"+output, ready) },
	})
	return b
}

// Restart stops and starts it and tells how long the start took.
func (b *Beffroi) Restart() time.Duration {
	b.Stop()
	start := time.Now()
	b.Start()
	return time.Since(start)
}
