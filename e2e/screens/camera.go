package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is one Chromium; each language gets a profile of its own in it.
type browser struct {
	options
	ctx   context.Context
	stop  []context.CancelFunc
	axe   string
	taken []string // file names, in the order of the walk
}

func startBrowser(ctx context.Context, o options) (*browser, error) {
	b := &browser{options: o}
	if text, err := os.ReadFile(o.axe); err == nil {
		b.axe = string(text)
	} else {
		fmt.Println("no axe-core: run templates/npm/build.sh for the accessibility findings")
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	allocator, stop := chromedp.NewExecAllocator(ctx, flags...)
	b.stop = append(b.stop, stop)
	b.ctx, stop = chromedp.NewContext(allocator)
	b.stop = append(b.stop, stop)
	if err := chromedp.Do(b.ctx); err != nil {
		b.close()
		return nil, fmt.Errorf("start Chromium: %w", err)
	}
	return b, nil
}

func (b *browser) close() {
	for i := len(b.stop) - 1; i >= 0; i-- {
		b.stop[i]()
	}
}

// writeIndex puts all pictures on one page, a row for each page and language.
func (b *browser) writeIndex() error {
	var page strings.Builder
	page.WriteString("<!doctype html><meta charset=utf-8><title>Beffroi</title><style>body{margin:16px;background:#777;color:#fff;font:14px sans-serif}div{display:flex;gap:8px;margin-bottom:16px}img{height:420px}</style>\n")
	for i, file := range b.taken {
		if i%(2*len(sizes)) == 0 {
			page.WriteString("<div>")
		}
		fmt.Fprintf(&page, `<a href="%[1]s"><img loading="lazy" src="%[1]s" alt="%[1]s" title="%[1]s"></a>`, html.EscapeString(file))
		if i%(2*len(sizes)) == 2*len(sizes)-1 {
			page.WriteString("</div>\n")
		}
	}
	return os.WriteFile(filepath.Join(b.out, "index.html"), []byte(page.String()), 0o644)
}

// camera is one tab in one language.
type camera struct {
	*browser
	lang     string
	ctx      context.Context
	stop     context.CancelFunc
	findings int

	mu      sync.Mutex
	console []string
}

func (b *browser) camera(lang string) (*camera, error) {
	c := &camera{browser: b, lang: lang}
	c.ctx, c.stop = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(c.listen))
	if err := chromedp.Do(c.ctx); err != nil {
		return nil, err
	}
	if _, err := chromedp.Call(c.ctx, log.Enable, struct{}{}); err != nil {
		return nil, err
	}
	// The choice made by hand: it stands above the directory and the browser.
	for _, url := range []string{b.provider, b.portal} {
		if _, err := chromedp.Call(c.ctx, network.SetCookie, network.SetCookieParams{Name: "beffroi_lang", Value: lang, URL: url}); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *camera) close() { c.stop() }

func (c *camera) listen(ev any) {
	text := ""
	switch ev := ev.(type) {
	case *log.EventEntryAdded:
		if ev.Entry.Level == "error" || ev.Entry.Level == "warning" {
			text = ev.Entry.Text + " " + ev.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		text = ev.ExceptionDetails.Text
		if ev.ExceptionDetails.Exception != nil {
			text += " " + ev.ExceptionDetails.Exception.Description
		}
	}
	if text != "" {
		c.mu.Lock()
		c.console = append(c.console, text)
		c.mu.Unlock()
	}
}

// do runs steps with a limit, so that a page that hangs is named.
func (c *camera) do(steps ...chromedp.Action[chromedp.Void]) error {
	ctx, stop := context.WithTimeout(c.ctx, 15*time.Second)
	defer stop()
	err := chromedp.Do(ctx, steps...)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("nothing after 15 s at %s", c.location())
	}
	return err
}

func (c *camera) location() string {
	where, _ := chromedp.Run(c.ctx, chromedp.Location())
	return where
}

func (c *camera) open(url string) error {
	if err := c.do(chromedp.Navigate(url)); err != nil {
		return fmt.Errorf("open %s: %w", url, err)
	}
	return nil
}

// openStill opens a page whose scripts would leave it at once, without them.
func (c *camera) openStill(url string) error {
	scripts := func(off bool) error {
		_, err := chromedp.Call(c.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: off})
		return err
	}
	if err := scripts(true); err != nil {
		return err
	}
	return errors.Join(c.open(url), scripts(false)) // on again for what inspects it
}

// has tells whether the page holds what a CSS selector names.
func (c *camera) has(selector string) bool {
	found, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool](fmt.Sprintf("!!document.querySelector(%q)", selector)))
	return err == nil && found
}

// attribute is that of the first element that matches, resolved when it is a
// link; empty when nothing matches.
func (c *camera) attribute(selector, name string) string {
	v, _ := chromedp.Run(c.ctx, chromedp.Evaluate[string](fmt.Sprintf("(document.querySelector(%q)||{})[%q]||''", selector, name)))
	return v
}

type size struct {
	name          string
	width, height int64
	phone         bool
}

var sizes = []size{{"1280", 1280, 900, false}, {"390", 390, 844, true}}

// take takes the page as it stands, in both sizes and both themes.
func (c *camera) take(name string) error {
	if !c.only.MatchString(name) {
		c.reset()
		return nil
	}
	for _, s := range sizes {
		for _, theme := range []string{"light", "dark"} {
			if err := c.look(s, theme); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			shoot := chromedp.CaptureScreenshot()
			if c.full {
				shoot = chromedp.FullScreenshot(100)
			}
			png, err := chromedp.Run(c.ctx, shoot)
			if err != nil {
				return fmt.Errorf("%s: picture: %w", name, err)
			}
			file := fmt.Sprintf("%s-%s-%s-%s.png", name, s.name, c.lang, theme)
			if err := os.WriteFile(filepath.Join(c.out, file), png, 0o644); err != nil {
				return err
			}
			c.taken = append(c.taken, file)
			c.inspect(name, s.name+" "+theme)
		}
	}
	// WCAG 1.4.10: nothing is lost at 320 CSS pixels, nor at 200 % zoom.
	for _, s := range []size{{"320", 320, 640, true}, {"zoomed", 640, 450, false}} {
		if err := c.look(s, "light"); err != nil {
			return err
		}
		c.overflow(name, s.name)
	}
	if err := c.look(sizes[0], "light"); err != nil {
		return err
	}
	c.reset()
	fmt.Printf("%s %s\n", c.lang, name)
	return nil
}

func (c *camera) look(s size, theme string) error {
	viewport := []chromedp.EmulateViewportOption{chromedp.EmulateScale(1)}
	if s.phone {
		viewport = append(viewport, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	if err := c.do(chromedp.EmulateViewport(s.width, s.height, viewport...)); err != nil {
		return err
	}
	_, err := chromedp.Call(c.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	if err != nil {
		return err
	}
	return c.do(chromedp.Sleep(60 * time.Millisecond))
}

func (c *camera) finding(name, where, text string) {
	c.findings++
	fmt.Printf("  %s %s %s: %s\n", c.lang, name, where, text)
}

// inspect says what the picture does not show.
func (c *camera) inspect(name, where string) {
	c.overflow(name, where)
	if c.axe == "" || where == "390 dark" { // colours were seen at 1280, sizes in light
		return
	}
	if _, err := chromedp.Run(c.ctx, chromedp.Evaluate[chromedp.Void]("if(!window.axe){"+c.axe+"\n}0")); err != nil {
		c.finding(name, where, "axe: "+err.Error())
		return
	}
	found, err := chromedp.Run(c.ctx, chromedp.Evaluate[[]string](`axe.run(document,{iframes:false,runOnly:['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa','best-practice']})
		.then(r=>r.violations.flatMap(v=>v.nodes.slice(0,4).map(n=>v.id+' '+n.target.join(' ')+' '+(n.any[0]?.message||''))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		c.finding(name, where, "axe: "+err.Error())
	}
	for _, f := range found {
		c.finding(name, where, "axe: "+f)
	}
}

func (c *camera) overflow(name, where string) {
	wide, err := chromedp.Run(c.ctx, chromedp.Evaluate[string](`(()=>{const w=document.documentElement.clientWidth;
		if(document.documentElement.scrollWidth<=w)return '';
		const e=[...document.querySelectorAll('body *')].find(e=>e.getBoundingClientRect().right>w+1&&getComputedStyle(e).position!=='fixed');
		return document.documentElement.scrollWidth+' px wide in '+w+': '+(e?e.tagName.toLowerCase()+'.'+e.className:'')})()`))
	if err == nil && wide != "" {
		c.finding(name, where, "overflow "+wide)
	}
}

// reset prints what the console said since the page was opened.
func (c *camera) reset() {
	c.mu.Lock()
	said := c.console
	c.console = nil
	c.mu.Unlock()
	for _, text := range said {
		if !strings.Contains(text, "status of 4") { // an error page is asked for on purpose
			c.finding("console", c.location(), text)
		}
	}
}
