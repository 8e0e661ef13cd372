// What the pages do beyond links and forms: live parts, a theme, questions in dialogs, keys. Everything can be
// read without it.
'use strict';

const themes = ['', 'light', 'dark'];
const theme = () => localStorage.getItem('theme') ?? '';
const applyTheme = () => {
  document.documentElement.dataset.theme = theme();
  const button = document.querySelector('[data-theme-toggle]');
  if (!button) return;
  button.textContent = 'Theme: ' + (theme() || 'auto');
};
const nextTheme = () => {
  localStorage.setItem('theme', themes[(themes.indexOf(theme()) + 1) % themes.length]);
  applyTheme();
};
applyTheme(); // before anything is painted

// morph makes one node like another and keeps what is alike, so that focus, selection and animations last.
function morph(have, want) {
  if (have.nodeName !== want.nodeName || have.id !== want.id) return have.replaceWith(want);
  if (have.nodeType !== Node.ELEMENT_NODE) {
    if (have.data !== want.data) have.data = want.data;
    return;
  }
  for (const { name } of [...have.attributes]) if (!want.hasAttribute(name) && name !== 'open') have.removeAttribute(name);
  for (const { name, value } of want.attributes) if (have.getAttribute(name) !== value) have.setAttribute(name, value);
  morphChildren(have, want);
}

function morphChildren(have, want) {
  const old = [...have.childNodes], now = [...want.childNodes];
  now.forEach((node, i) => (old[i] ? morph(old[i], node) : have.append(node)));
  old.slice(now.length).forEach((node) => node.remove());
}

// live follows the page while somebody looks at it.
function live() {
  const link = document.getElementById('link');
  let events;
  const follow = () => {
    events?.close();
    events = undefined;
    if (document.hidden) return;
    events = new EventSource('/events?page=' + encodeURIComponent(document.body.dataset.live));
    events.onopen = () => { link.hidden = true; };
    events.onerror = () => {
      link.hidden = false;
      link.textContent = 'not live: consentd does not answer';
    };
    events.onmessage = ({ data }) => {
      const { id, html } = JSON.parse(data);
      const at = document.getElementById(id);
      if (!at) return;
      const next = at.cloneNode(false);
      next.innerHTML = html;
      morphChildren(at, next);
      document.documentElement.dataset.lively = 'yes';
    };
  };
  document.addEventListener('visibilitychange', follow);
  addEventListener('pagehide', () => events?.close());
  follow();
}

// ask puts the question of a button into a dialog before its form is sent.
function ask(event) {
  const { form, dataset } = event.submitter ?? {};
  if (!dataset?.confirm || form.elements.confirmed) return;
  event.preventDefault();
  const button = event.submitter, dialog = document.getElementById('ask');
  const word = document.getElementById('ask-word'), yes = document.getElementById('ask-yes');
  document.getElementById('ask-text').textContent = dataset.confirm;
  yes.textContent = dataset.verb;
  word.value = '';
  word.closest('p').hidden = !dataset.word;
  word.pattern = dataset.word ?? '.*';
  word.required = !!dataset.word;
  dialog.returnValue = '';
  dialog.onclose = () => {
    if (dialog.returnValue !== 'yes') return button.focus();
    const answer = Object.assign(document.createElement('input'), { type: 'hidden', name: 'confirmed', value: dataset.word ?? 'yes' });
    form.append(answer);
    form.requestSubmit(button);
  };
  dialog.showModal();
}

const pages = { o: '/', d: '/dead', q: '/quarantine', c: '/citizens', p: '/playground', r: '/receipts' };
let going = -Infinity; // when g was pressed

function keys(event) {
  const off = localStorage.getItem('keys') === 'off';
  if (off || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  if (event.target.closest('input:not([type=checkbox]), textarea, select')) return;
  const row = document.activeElement?.closest('[data-row]');
  const move = (by) => {
    const rows = [...document.querySelectorAll('[data-row]')];
    const to = rows[row ? rows.indexOf(row) + by : 0];
    to?.focus();
    to?.scrollIntoView({ block: 'nearest' });
  };
  const went = performance.now() - going < 1500 && pages[event.key];
  going = event.key === 'g' ? performance.now() : -Infinity;
  if (went) location.assign(went);
  else if (event.key === 'j') move(1);
  else if (event.key === 'k') move(-1);
  else if (event.key === 'x') row?.querySelector('input[type=checkbox]')?.click();
  else if (event.key === 'r') row?.querySelector('[data-replay]')?.click();
  else if (event.key === 't') nextTheme();
  else if (event.key === '?') document.getElementById('keys')?.showModal();
  else if (event.key === '/') (document.querySelector('main [data-first]') ?? document.querySelector('main :is(select, input)'))?.focus();
  else return;
  event.preventDefault();
}

document.addEventListener('DOMContentLoaded', () => {
  applyTheme();
  for (const hidden of document.querySelectorAll('[data-theme-toggle], [data-help], .all')) hidden.hidden = false;
  document.querySelector('[data-theme-toggle]')?.addEventListener('click', nextTheme);
  document.querySelector('[data-help]')?.addEventListener('click', () => document.getElementById('keys').showModal());
  document.querySelector('[data-all]')?.addEventListener('change', ({ target }) => {
    for (const box of document.querySelectorAll('[data-row] input[type=checkbox]')) box.checked = target.checked;
  });
  const switchOff = document.getElementById('keys-off');
  if (switchOff) {
    switchOff.checked = localStorage.getItem('keys') === 'off';
    switchOff.addEventListener('change', () => localStorage.setItem('keys', switchOff.checked ? 'off' : 'on'));
  }
  document.addEventListener('submit', ask);
  document.addEventListener('keydown', keys);
  if (document.body.dataset.live) live();
});
