// Screens walks a running demo in Chromium and takes a picture of every page:
// two sizes, French and English, light and dark. It also says what a picture
// hides: content wider than the window (down to 320 pixels), messages on the
// browser's console, and what axe finds.
//
//	make screens                                 build, start a demo if none answers, take the pictures
//	go run ./e2e/screens -portal URL -provider URL   another demo
//	go run ./e2e/screens -components             the components alone, no demo needed
//	go run ./e2e/screens -serve 127.0.0.1:8090   the components for your own browser
//	go run ./e2e/screens -only 'mail|agenda'     pages whose name matches
//
// It exits 0 when every page was reached; findings are printed, not fatal,
// unless -strict is given.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
)

type options struct {
	provider, portal, out, axe, binary, serve, dir string
	components, full, strict                       bool
	only                                           *regexp.Regexp
}

func main() {
	var o options
	flag.StringVar(&o.provider, "provider", "http://localhost:8080", "address of the demo's provider")
	flag.StringVar(&o.portal, "portal", "http://127.0.0.1:8081", "address of the demo's portal")
	flag.StringVar(&o.out, "out", "screens", "folder for the pictures, created")
	flag.StringVar(&o.axe, "axe", filepath.FromSlash("templates/npm/node_modules/axe-core/axe.min.js"), "axe-core, skipped when missing")
	flag.StringVar(&o.binary, "beffroi", filepath.FromSlash("bin/beffroi"), "what to start when no demo answers")
	flag.StringVar(&o.dir, "dir", ".demo", "state of the demo that answers already")
	flag.BoolVar(&o.components, "components", false, "take the components instead of the demo")
	flag.StringVar(&o.serve, "serve", "", "serve the components at this address, take nothing")
	flag.BoolVar(&o.full, "full", false, "whole pages rather than what the window shows")
	flag.BoolVar(&o.strict, "strict", false, "findings make it exit 1")
	only := flag.String("only", "", "regular expression: take these pages only")
	flag.Parse()
	var err error
	if o.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "screens: -only:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	findings, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
	if findings > 0 && o.strict {
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (findings int, err error) {
	if o.serve != "" {
		return 0, serveComponents(ctx, o.serve)
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return 0, err
	}
	if !o.components {
		stop, err := ensureDemo(ctx, &o)
		if err != nil {
			return 0, err
		}
		defer stop()
	}
	b, err := startBrowser(ctx, o)
	if err != nil {
		return 0, err
	}
	defer b.close()
	for _, lang := range []string{"fr", "en"} {
		c, err := b.camera(lang)
		if err != nil {
			return 0, err
		}
		if o.components {
			err = c.walkComponents()
		} else {
			err = c.walkDemo()
		}
		c.close()
		if err != nil {
			return 0, fmt.Errorf("%s: %w", lang, err)
		}
		findings += c.findings
	}
	if err := b.writeIndex(); err != nil {
		return findings, err
	}
	fmt.Printf("%d pictures in %s (open index.html), %d findings\n", len(b.taken), o.out, findings)
	return findings, nil
}
