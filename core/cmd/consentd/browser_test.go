package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// shots is where pictures of the console's pages are left to be looked at.
var shots = flag.String("shots", "", "write pictures of the console's pages to this folder")

// browser is a headless Chromium with one page, which notes what goes wrong in it.
type browser struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu    sync.Mutex
	wrong []string
}

func newBrowser(t *testing.T, origin string) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing: install Debian's chromium")
		}
		t.Skip("chromium is not there: install Debian's chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()),
		chromedp.DisableGPU, chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, cancelPage := chromedp.NewContext(ctx)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancelPage() })
	b := &browser{t: t, ctx: ctx, origin: origin}
	b.do(b.note())
	if err := chromedp.Listen(ctx, b.event); err != nil {
		t.Fatal(err)
	}
	return b
}

// note asks for the events that event is interested in.
func (b *browser) note() chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{})
		return chromedp.Void{}, err
	}
}

// event notes errors and requests to other origins.
func (b *browser) event(ev any) {
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.complain("exception: " + e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			b.complain(fmt.Sprintf("console: %s", e.Type))
		}
	case *log.EventEntryAdded:
		b.complain("log: " + e.Entry.Text + " " + e.Entry.URL)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.origin+"/") {
			b.complain("request to another origin: " + e.Request.URL)
		}
	}
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, text)
}

// quiet fails for what was noted since it was last asked.
func (b *browser) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.wrong {
		b.t.Errorf("%s: %s", where, text)
	}
	b.wrong = nil
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page and waits until it has loaded.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.origin + path))
}

// value is what an expression is in the page.
func value[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits for an expression to be true, over pages that come and go.
func (b *browser) until(what, expression string) {
	b.t.Helper()
	eventually(b.t, what, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		return err == nil && ok
	})
}

// click clicks what a selector finds, as a mouse does.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// press presses keys one after the other.
func (b *browser) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// look makes the window that wide and its owner like light or dark.
func (b *browser) look(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return chromedp.Void{}, err
	})
}

// calm is the wish for no motion.
func (b *browser) calm() {
	b.t.Helper()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return chromedp.Void{}, err
	})
}

// shoot leaves a picture of the whole page, if pictures are asked for.
func (b *browser) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	height := value[float64](b, "document.documentElement.scrollHeight")
	width := value[float64](b, "document.documentElement.clientWidth")
	beyond := true
	picture, err := chromedp.Run(b.ctx, chromedp.Action[page.CaptureScreenshotResult](func(ctx context.Context, t *chromedp.Target) (page.CaptureScreenshotResult, error) {
		return cdp.Call(ctx, t, page.CaptureScreenshot, page.CaptureScreenshotParams{
			CaptureBeyondViewport: &beyond, Clip: &page.Viewport{Width: width, Height: min(height, 4000), Scale: 1},
		})
	}))
	if err == nil {
		err = os.WriteFile(filepath.Join(*shots, name+".png"), picture.Data, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// faults are what is wrong with a page for somebody who does not see it, or whose window is narrow.
const faults = `(() => {
  const all = [], name = (e) => (e.getAttribute('aria-label') || (e.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id)?.textContent).join(' ')
    || e.labels?.[0]?.textContent || e.textContent || e.title || '').trim();
  const outer = (e) => e.outerHTML.slice(0, 120);
  if (document.documentElement.scrollWidth > innerWidth) {
    all.push('wider than the window: ' + [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 3).map(outer).join(' | '));
  }
  for (const e of document.querySelectorAll('input:not([type=hidden]), select, textarea')) if (!name(e)) all.push('no label: ' + outer(e));
  for (const e of document.querySelectorAll('button, a, summary')) if (!name(e)) all.push('no name: ' + outer(e));
  for (const e of document.querySelectorAll('svg, img')) if (e.getAttribute('aria-hidden') !== 'true' && !(e.getAttribute('aria-label') || e.alt)) all.push('picture without a name: ' + outer(e));
  for (const e of document.querySelectorAll('[style], [onclick]')) all.push('inline style or script: ' + outer(e));
  let level = 0;
  for (const e of document.querySelectorAll('h1, h2, h3, h4')) {
    if (e.closest('dialog:not([open])')) continue;
    const next = +e.tagName[1];
    if (next > level + 1) all.push('heading out of order: ' + outer(e));
    level = next;
  }
  if (document.querySelectorAll('h1').length !== 1) all.push('not one h1');
  for (const mark of ['main', 'header']) if (document.querySelectorAll(mark).length !== 1) all.push('not one ' + mark);
  if (!document.querySelector('a.skip')) all.push('no way to skip the navigation');
  const ids = [...document.querySelectorAll('[id]')].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) all.push('id twice: ' + id);
  return JSON.stringify(all);
})()`

// sound fails for the faults of the page that is open.
func (b *browser) sound(where string) {
	b.t.Helper()
	var all []string
	if err := json.Unmarshal([]byte(value[string](b, faults)), &all); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range all {
		b.t.Errorf("%s: %s", where, f)
	}
}
