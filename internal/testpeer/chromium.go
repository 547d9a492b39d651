package testpeer

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// ChromiumOptions choose what kind of visitor the browser is.
type ChromiumOptions struct {
	Language      string // what it asks servers for: "fr" (default), "en"
	Width, Height int    // of the window in pixels; 0 is 1280 × 800
	NoScript      bool   // JavaScript is off
	Dark          bool   // prefers dark colours
	NetLog        string // file for what it does on the network (Chromium's net log)
}

// Chromium starts a headless Chromium with an empty profile for this test and gives the context that chromedp's actions take.
// It ends with the test, or after three minutes.
func Chromium(t testing.TB) context.Context {
	t.Helper()
	return StartChromium(t, ChromiumOptions{})
}

// StartChromium is Chromium with options.
func StartChromium(t testing.TB, o ChromiumOptions) context.Context {
	t.Helper()
	chromium, err := program("chromium")
	if err != nil {
		t.Fatal(err)
	}
	if o.Language == "" {
		o.Language = "fr"
	}
	if o.Width == 0 {
		o.Width, o.Height = 1280, 800
	}
	var output logBuffer
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.UserDataDir(testDir(t, "chromium")),
		chromedp.NoSandbox, // root may not use the sandbox; the pages are our own
		chromedp.DisableGPU, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("accept-lang", o.Language), chromedp.Flag("lang", o.Language), chromedp.WindowSize(o.Width, o.Height),
		chromedp.IgnoreCertErrors, chromedp.CombinedOutput(&output), chromedp.WSURLReadTimeout(startLimit))
	if o.NetLog != "" {
		options = append(options, chromedp.Flag("log-net-log", o.NetLog))
	}
	if o.NoScript {
		options = append(options, chromedp.Flag("blink-settings", "scriptEnabled=false"))
	}
	if o.Dark {
		options = append(options, chromedp.Flag("blink-settings", "preferredColorScheme=0"))
	}
	limited, stopClock := context.WithTimeout(context.Background(), 3*time.Minute)
	allocator, stopBrowser := chromedp.NewExecAllocator(limited, options...)
	ctx, closeTab := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		closeTab()
		stopBrowser()
		stopClock()
		if t.Failed() {
			t.Logf("--- Chromium:\n%s", output.tail())
		}
	})
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("start Chromium: %v\n%s", err, output.tail())
	}
	if o.Width < 500 { // no window is narrower: a telephone is told so
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(o.Width), int64(o.Height), chromedp.EmulateMobile, chromedp.EmulateTouch)); err != nil {
			t.Fatalf("a telephone's screen: %v", err)
		}
	}
	return ctx
}

// logBuffer keeps what the browser prints; it writes while the test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var kept []string
	for _, line := range strings.Split(l.b.String(), "\n") {
		if !strings.Contains(line, "dbus") { // of a desktop that is not there
			kept = append(kept, line)
		}
	}
	text := strings.Join(kept, "\n")
	return text[max(0, len(text)-3000):]
}
