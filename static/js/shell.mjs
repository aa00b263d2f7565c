// Every page: theme, drawers, dialogs, copying, single keys. Nothing here is needed to use a page, only to use it fast.
import { gettext } from './words.mjs';

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const root = document.documentElement;

export const say = (text, box = $('#say')) => { if (box) box.textContent = text; };
export const cookie = name => document.cookie.split('; ').find(part => part.startsWith(`${name}=`))?.slice(name.length + 1);
export const typing = el => el.matches?.('textarea, select, [contenteditable="true"], input:not([type=radio]):not([type=checkbox])');
export const singleKeys = () => $('[data-single-keys]')?.checked !== false;

// Signing in changes the token, so it is read from the cookie at the moment of sending.
addEventListener('htmx:configRequest', event => { const token = cookie('csrftoken'); if (token) event.detail.headers['X-CSRFToken'] = token; });
addEventListener('htmx:responseError', event => { if (event.detail.xhr.status === 401) location.reload(); });

export function remember(values) {
  const body = new URLSearchParams(values);
  return fetch(document.body.dataset.preferences, { method: 'POST', body, headers: { 'X-CSRFToken': cookie('csrftoken') ?? '', 'X-Requested-With': 'fetch' } }).catch(() => {});
}

function switchTheme() {
  const dark = root.dataset.theme === 'dark' || (root.dataset.theme !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  root.dataset.theme = dark ? 'light' : 'dark';
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=lax`;
  if (document.body.dataset.user) remember({ theme: root.dataset.theme });
}

export function toggle(id) {
  const box = document.getElementById(id);
  if (!box) return;
  box.hidden = !box.hidden;
  $$(`[aria-controls="${id}"]`).forEach(button => button.setAttribute('aria-expanded', String(!box.hidden)));
  if (!box.hidden) $('button, a', box)?.focus();
}

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  const text = source?.value ?? source?.textContent ?? '';
  try { await navigator.clipboard.writeText(text); say(gettext('Copied')); } catch { say(gettext('Copying is blocked here')); }
}

addEventListener('click', event => {
  const el = event.target.closest('[data-theme-toggle],[data-toggle],[data-open],[data-close],[data-copy]');
  $$('details.menu[open]').forEach(menu => { if (!menu.contains(event.target)) menu.open = false; });
  if (!el) return;
  if ('themeToggle' in el.dataset) switchTheme();
  if (el.dataset.toggle) toggle(el.dataset.toggle);
  if (el.dataset.open) document.getElementById(el.dataset.open)?.showModal();
  if (el.dataset.copy) copy(el);
  if ('close' in el.dataset) el.closest('dialog').close();
});

addEventListener('change', event => {
  if (event.target.matches('[data-single-keys]')) remember({ single_keys: event.target.checked ? '1' : '0' });
  if (event.target.matches('[data-submits]')) event.target.form.requestSubmit();
});

// What a page says as it opens was there before anybody listened: a live region speaks only of what comes into it.
const told = $$('[data-told]').map(one => one.textContent.trim()).join(' ');
if (told) setTimeout(() => say(told), 500);

// Keys of a page come first; they say whether they used the key.
const handlers = [];
export const onKey = handler => handlers.push(handler);
let before = '';

function rows(step) {
  const links = $$('tbody tr').map(row => $('a[href]', row)).filter(Boolean);
  if (!links.length) return false;
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))].focus();
  return true;
}

function shellKey(key) {
  const last = before;
  before = key;
  if (last === 'g') { const link = $(`[data-go="${CSS.escape(key)}"]`); if (link) { link.click(); return true; } }
  if (key === 'j' || key === 'k') return rows(key === 'j' ? 1 : -1);
  if (key === '/') { const field = $('[data-search]'); field?.focus(); return Boolean(field); }
  if (key === 'n') { const act = $('[data-new]'); act?.click(); return Boolean(act); }
  return false;
}

addEventListener('keydown', event => {
  const el = event.target instanceof Element ? event.target : document.body;
  if (event.key === 'Escape') {
    if (typing(el)) el.blur();
    else $$('.drawer:not([hidden])').forEach(box => toggle(box.id));
    $$('details.menu[open]').forEach(menu => { menu.open = false; });
  }
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    const form = el.closest('form[data-ctrl-enter]') ?? $('form[data-ctrl-enter]');
    if (form) { event.preventDefault(); form.requestSubmit(); }
    return;
  }
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing(el) || $('dialog[open]') || !singleKeys()) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (handlers.some(handler => handler(key, event))) { event.preventDefault(); return; }
  if (document.body.dataset.scope !== 'annotate' && shellKey(key)) { event.preventDefault(); return; }
  const hit = $$(`[data-key="${CSS.escape(key)}"]`).find(one => !one.disabled);
  if (!hit) return;
  event.preventDefault();
  if (typing(hit)) hit.focus(); else hit.click();
});
