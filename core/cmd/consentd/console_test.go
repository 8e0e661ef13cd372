package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestConsole works the console in a browser as a person does, over a daemon of which one target rejects.
func TestConsole(t *testing.T) {
	rejecting := atomic.Bool{}
	rejecting.Store(true)
	sink := newSink(t)
	sink.answer = func(rec taken) int {
		if rejecting.Load() && strings.HasPrefix(rec.Citizen, "refused") {
			return http.StatusUnprocessableEntity
		}
		return 0
	}
	i := configure(t, "")
	ours := strings.Replace(apiKeySource, `  auth "api_key"`, "  application_id = \"acme\"\n\n  auth \"api_key\"", 1)
	rest := sink.config("crm", "") + sink.config("warehouse", "")
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + ours + rest)
	i.start()
	b := newBrowser(t, "http://"+i.admin)

	// Numbers move and a dead letter shows by itself.
	b.open("/")
	b.until("the overview is calm", `document.querySelector('#attention').innerText.includes('Nothing waits for you')`)
	for n, citizen := range []string{"ada-1815", "alan", "refused-1", "refused-2"} {
		i.accept(update(citizen, "GRANTED", n))
	}
	b.until("updates come in and are delivered", `[...document.querySelectorAll('#vitals dd')].filter((e) => /^[1-9.0]+\/s$/.test(e.textContent) && e.textContent !== '0/s').length === 2`)
	b.until("dead letters are told", `/deliveries have stopped/.test(document.querySelector('#attention').innerText)`)
	b.until("the flow is alive", `document.querySelector('#flow .pulse')`)
	b.quiet("overview")

	// By keyboard: to the dead letters, to the first row, replay.
	eventually(t, "all four are dead letters", func() bool { return i.target("crm").Dead+i.target("warehouse").Dead == 4 })
	rejecting.Store(false)
	b.press("gd")
	b.until("the dead letters are there", `location.pathname === '/dead' && document.querySelectorAll('[data-row]').length === 4 && document.readyState === 'complete'`)
	for _, name := range []string{"refused-1", "example.org"} {
		if strings.Contains(value[string](b, "document.documentElement.outerHTML"), name) {
			t.Errorf("the list of dead letters names %s", name)
		}
	}
	b.press("jjk")
	if !value[bool](b, `document.activeElement === document.querySelector('[data-row]')`) {
		t.Error("j and k do not lead to the first row")
	}
	b.press("r")
	b.until("one is replayed by keyboard", `/1 dead letter is due now/.test(document.body.innerText) && document.readyState === 'complete'`)
	eventually(t, "it arrives", func() bool { return i.target("crm").Dead+i.target("warehouse").Dead == 3 })

	// By click; and what cannot be taken back is asked.
	b.open("/dead")
	b.click("[data-replay]")
	b.until("one is replayed by click", `/1 dead letter is due now/.test(document.body.innerText) && document.readyState === 'complete'`)
	eventually(t, "it arrives", func() bool { return i.target("crm").Dead+i.target("warehouse").Dead == 2 })
	b.open("/dead")
	b.press("jx")
	b.click("button.danger[formaction='/dead/discard']")
	b.until("it asks", `document.querySelector('#ask[open]')`)
	b.press(kb.Escape)
	b.until("the question is gone", `!document.querySelector('#ask[open]')`)
	b.click("button.danger[formaction='/dead/discard']")
	b.click("#ask-yes")
	b.until("it is discarded", `/1 dead letter was discarded/.test(document.body.innerText) && document.readyState === 'complete'`)
	if n := i.target("crm").Dead + i.target("warehouse").Dead; n != 1 {
		t.Errorf("%d dead letters", n)
	}
	b.quiet("dead letters")

	// A citizen, found by an id that is in no address, and shown on request.
	b.press("gc")
	b.until("the form is there", `location.pathname === '/citizens' && document.readyState === 'complete'`)
	b.press("/")
	// The protocol types the key even when the page has taken it for itself, which no keyboard does.
	value[string](b, "document.activeElement.value = ''")
	b.press("ada-1815" + kb.Enter)
	b.until("the citizen is there", `location.pathname.startsWith('/citizens/') && document.readyState === 'complete'`)
	citizen := value[string](b, "location.pathname")
	if text := value[string](b, "document.documentElement.outerHTML"); strings.Contains(text, "ada-1815") || !strings.Contains(text, "newsletter_email") {
		t.Error("the page shows the citizen before it is asked to, or no permission")
	}
	b.click("#show")
	b.until("the citizen is shown", `/ada-1815@example.org/.test(document.body.innerText)`)

	// The playground renders through the rules in force.
	b.open("/playground")
	b.click("main button.primary")
	b.until("both rules render", `document.querySelectorAll('article.rule pre').length === 2 && /an-invented-citizen/.test(document.querySelector('article.rule pre').innerText)`)

	// A body that was not understood is, once the configuration is mended.
	stray := strings.Replace(string(update("ada-1815", "DENIED", 9)), `"acme"`, `"somebody-elses"`, 1)
	if status, text := i.post([]byte(stray)); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	b.press("gq")
	b.until("the quarantine is there", `location.pathname === '/quarantine' && document.querySelector('[data-row]') && document.readyState === 'complete'`)
	everyPage(b, citizen)
	b.open("/quarantine/1")
	b.click("form[action$='/reveal'] button")
	b.until("the body is shown", `/somebody-elses/.test(document.querySelector('pre')?.innerText)`)
	i.write(fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db")) + apiKeySource + rest)
	if out, code := i.run("reload"); code != 0 {
		t.Fatalf("reload: %s", out)
	}
	b.open("/quarantine")
	b.press("jr")
	b.until("the body is an update", `/is an accepted update now/.test(document.body.innerText)`)
	eventually(t, "the withdrawal arrives", func() bool {
		all := sink.of("ada-1815")
		return len(all) > 0 && !all[len(all)-1].Allowed
	})
	b.quiet("at the end")
	i.stop()
}

// everyPage holds all pages to fit narrow and wide windows by day and by night, and to be sound.
func everyPage(b *browser, citizen string) {
	b.t.Helper()
	for name, path := range map[string]string{
		"overview": "/", "target": "/targets/crm", "dead": "/dead", "quarantine": "/quarantine", "body": "/quarantine/1",
		"citizens": "/citizens", "citizen": citizen, "playground": "/playground", "receipts": "/receipts",
	} {
		b.open(path)
		seen := map[string]bool{}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{400, 1600} {
				b.look(width, scheme)
				at := fmt.Sprintf("%s-%s-%d", name, scheme, width)
				b.sound(at)
				b.shoot(at)
				seen[value[string](b, "getComputedStyle(document.body).backgroundColor")] = true
			}
		}
		if path != "/quarantine/1" { // which has nothing that could change
			b.until(name+" is live", "document.documentElement.dataset.lively")
		}
		if !value[bool](b, "!!document.querySelector('nav [aria-current]')") {
			b.t.Errorf("%s does not say where it is", name)
		}
		if len(seen) != 2 {
			b.t.Errorf("%s has %d colours by day and night", name, len(seen))
		}
		b.quiet(name)
	}
	b.look(1200, "light")
	// Nothing moves for those who do not want that.
	b.open("/")
	b.calm()
	if moving := value[int](b, "document.getAnimations().length"); moving != 0 {
		b.t.Errorf("%d animations", moving)
	}
}

// TestConsoleLogin: a browser is let in by a token, and out again.
func TestConsoleLogin(t *testing.T) {
	i := configure(t, "")
	text := fmt.Sprintf(baseConfig, i.listener, i.admin, i.path("consentd.db"))
	i.write(strings.Replace(text, "admin {\n", "admin {\n  token = \"a-token-that-is-long-enough\"\n", 1) + apiKeySource)
	i.start()
	b := newBrowser(t, "http://"+i.admin)
	b.open("/dead")
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=token]"), "a-token-that-is-long-enough"+kb.Enter))
	b.until("the overview is there and live", `location.pathname === '/' && document.documentElement.dataset.lively`)
	b.sound("overview of an empty daemon")
	b.quiet("overview of an empty daemon")
	if value[string](b, "document.cookie") != "" {
		t.Error("the script sees the cookie")
	}
	b.click("form[action='/logout'] button")
	b.until("the login is there", `location.pathname === '/login' && document.readyState === 'complete'`)
	b.sound("login")
	b.quiet("login")
}
