package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ensureDemo leaves a demo alone that already answers; otherwise it starts the
// binary with fresh state of its own. The function it returns stops what it
// started.
func ensureDemo(ctx context.Context, o *options) (stop func(), err error) {
	provider, err := url.Parse(o.provider)
	if err != nil {
		return nil, err
	}
	portal, err := url.Parse(o.portal)
	if err != nil {
		return nil, err
	}
	if conn, err := net.DialTimeout("tcp", portal.Host, time.Second); err == nil {
		_ = conn.Close()
		fmt.Println("taking the demo that answers at", o.portal)
		return func() {}, nil
	}
	dir, err := os.MkdirTemp("", "beffroi-screens")
	if err != nil {
		return nil, err
	}
	o.dir = dir
	clean := func() { _ = os.RemoveAll(dir) }
	// The demo binds addresses; its provider answers by the name localhost.
	listen := strings.Replace(provider.Host, "localhost", "127.0.0.1", 1)
	cmd := exec.CommandContext(ctx, o.binary, "demo", "-dir", dir, "-provider", listen, "-portal", portal.Host)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		clean()
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		clean()
		return nil, fmt.Errorf("start a demo: %w", err)
	}
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		clean()
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "ready ") {
			fmt.Println(lines.Text())
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return stop, nil
		}
	}
	stop()
	return nil, fmt.Errorf("the demo ended before it was ready")
}
