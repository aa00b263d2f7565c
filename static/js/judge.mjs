// The judging page: one key, one judgment. The form works without this file; this makes it immediate and hard to lose.
import { $, $$, onKey, remember, say, singleKeys, typing } from './shell.mjs';
import * as box from './outbox.mjs';
import * as coming from './coming.mjs';
import { editor } from './editor.mjs';
import { ladder } from './ladder.mjs';
import { spans } from './spans.mjs';
import { follow, improve, improving, tidy } from './improve.mjs';
import { activate, pick, rate, thumb, told, why } from './answer_keys.mjs';
import { button, clearNotes, count as showCount, note, saved } from './status.mjs';
import { gettext, ngettext, number } from './words.mjs';

// One key submits, except while arrows walk through the steps, and on a phone, where a tap selects and the button submits.
let byArrow = false;
const small = matchMedia('(max-width: 820px)');   // asking the switch whether it shows would lay the page out
const oneKey = () => auto && !byArrow && !improving() && Boolean($('#auto')) && !small.matches;
addEventListener('keydown', event => { byArrow = event.key.startsWith('Arrow'); }, true);
addEventListener('pointerdown', () => { byArrow = false; }, true);

const QUIET = 250;       // ms after a new item in which keys do nothing, so that a double press cannot judge unread text
const IDLE = 60_000;     // ms without activity after which the time on the item stops
const RENEW = 60_000;    // ms between renewals of the lease while its annotator is active
const drafts = `hone-draft-${document.body.dataset.user}-`;

const item = () => $('#item');
const form = () => $('#judge');
let quietUntil = 0, draftTimer = 0;
let diff = $('#diff')?.checked ?? true, raw = false, auto = $('#auto')?.checked ?? true;
let before = Number(item().dataset.number) - 1;   // items before the one on display, as the server last said
let active = 0, lastActive = performance.now(), lastTick = performance.now(), lastRenewed = performance.now();

const ranOut = () => note('warn', gettext('Your time on this item ran out'), gettext('Somebody else may have it now. What you wrote stays here; submitting will tell.'));

function count(data) {
  if (data.done === undefined) return;
  before = Number(data.number) - 1;
  showCount(data);
}

// ---- items ----
function numbered() {
  const at = item();
  if (at.dataset.sent) return;
  at.dataset.number = before + box.judged() + 1;
  $('#number').textContent = at.dataset.task ? gettext('item {number}', { number: at.dataset.number }) : gettext('nothing left');
}

function show(next) {
  const notes = $$('#problems > .note.warn');
  item().replaceWith(next);
  if (small.matches) scrollTo(0, 0);   // there the page itself scrolls
  quietUntil = performance.now() + QUIET;
  active = 0; lastTick = performance.now();
  start();
  if (notes.length) $('#problems')?.append(...notes);
  $('#prompt-h')?.focus({ preventScroll: true });
  coming.unfold(next);
}

function start() {
  const at = item();
  if (form()) globalThis.htmx?.process(form());   // the responses hold nothing for it, and can be long
  numbered();
  for (const [name, on] of Object.entries({ diff, raw, auto })) { const box = $(`#${name}`); if (box) box.checked = on; }
  restoreDraft();
  ladder(at);
  editor(at, saveDraft);
  spans(at, changed);
  improve(at, changed);
  activate($$('.likert').find(row => !$(':checked', row)), false);
  left();
}

async function fetchAhead() {
  const url = item().dataset.ahead, task = item().dataset.task;
  if (!url || coming.there() || box.waiting()) return;
  try {
    const reply = await box.post(url, new URLSearchParams());
    if (reply.status === 200 && item().dataset.task === task) coming.keep(reply.data.ahead);
  } catch { /* the answer's own reply will bring the next item */ }
}

// ---- answers ----
const fields = () => { const data = new FormData(form()); data.delete('csrfmiddlewaretoken'); return new URLSearchParams(data); };

const saysWhy = () => Boolean($('[name=why]:checked') || $('#rationale')?.value.trim());

function missing() {
  const open = $$('[data-required]', item()).filter(field => {
    if (field.dataset.required === 'aspect') return !$(':checked', field);
    return field.dataset.required === 'reason' ? !saysWhy() : !field.value.trim();
  });
  const asked = $('[name=flag][data-asks]:checked') && !saysWhy() ? $('#rationale') ?? $('#why') : null;
  return asked && !open.includes(asked) ? [...open, asked] : open;
}

const isWhy = field => field.id === 'rationale' || field.id === 'why';

function left() {
  const label = $('#submit-label');
  if (!label) return;
  const open = missing(), aspects = open.filter(field => field.dataset.required === 'aspect').length;
  const unplaced = $$('.places select').filter(one => !one.value).length;
  const words = [];
  if (unplaced) words.push(ngettext('{count} response left', '{count} responses left', unplaced));
  if (aspects) words.push(ngettext('{count} aspect left', '{count} aspects left', aspects));
  if (open.some(isWhy)) words.push(words.length ? gettext('say why') : gettext('Say why'));
  label.textContent = words.join(', ') || $('#submit').dataset.label;
  $('#submit').classList.toggle('waits', words.length > 0);
}

function verdictMissing() {
  const at = item().dataset.kind;
  if (at === 'preference') return !$('[name=verdict]:checked', form()) && $('.beam');
  if (at === 'ranking') { const open = $$('.places select').find(one => !one.value); return open && ($('.tray .rung') ?? open); }
  return null;
}

const skips = submitter => Boolean(submitter?.getAttribute('formaction')?.endsWith('/skip/'));

function words(submitter) {
  if (skips(submitter)) return gettext('skipped');
  const chosen = $('[name=verdict]:checked', form());
  return chosen?.getAttribute('aria-label') ?? { rating: gettext('rated'), ranking: gettext('ranked'), demonstration: gettext('written') }[item().dataset.kind];
}

function submit(submitter) {
  const skipping = skips(submitter);
  tidy();
  const gap = skipping ? null : missing()[0] ?? verdictMissing();
  if (gap) {
    const field = gap.id === 'why' ? $('summary', gap) : $('input, button', gap) ?? gap;
    field.focus();
    note('warn', gap.dataset?.name ? gettext('{name} needs an answer', { name: gap.dataset.name }) : isWhy(gap) ? gettext('Say why, then submit') : gettext('Choose an answer first'));
    return;
  }
  if (item().dataset.sent) return;
  if (box.full()) { note('bad', gettext('Ten answers wait for the network'), gettext('Nothing more can be kept here until they are sent.'), button(gettext('Try now'), queue.flush)); return; }
  tick();
  $('[name=seconds]', form()).value = (active / 1000).toFixed(1);
  const body = fields();
  if (skipping) body.set('reason', submitter.value);
  const task = item().dataset.task;
  box.put({ key: body.get('key'), url: skipping ? submitter.formAction : form().action, body: body.toString(), task, words: words(submitter), skipped: skipping, number: item().dataset.number });
  clearTimeout(draftTimer);
  forget(task);
  clearNotes();
  item().dataset.sent = 'yes';
  saved(gettext('Saving…'), false);
  if (!coming.there()) { form().setAttribute('aria-busy', 'true'); queue.flush(); return; }
  lastRenewed = coming.since();
  show(coming.take());
  coming.painted(queue.flush);
}

const queue = box.outbox({
  sending() {},
  saved(entry, data) {
    clearNotes('warn');
    count(data);
    numbered();   // what waited when the page was opened may have been stored before
    saved(entry.skipped ? gettext('Skipped') : gettext('{number} saved: {words}', entry));
    say(entry.skipped ? gettext('Skipped. Item {number}', data) : gettext('Saved. Item {number}', data));
    if (data.undo) canUndo(data.undo);
    tabs?.postMessage(entry.task);
    const still = item().dataset.task === entry.task;
    if (still && data.item) {
      coming.forget();   // the same one, where it was on its way when the answer was given
      lastRenewed = performance.now();
      show(coming.parsed(data.item));
      setTimeout(fetchAhead, 300);
      return;
    }
    if (data.ahead !== undefined) coming.keep(data.ahead);
    if (item().dataset.sent && coming.there()) { lastRenewed = coming.since(); show(coming.take()); }
    if (!coming.there()) setTimeout(fetchAhead, 300);
  },
  refused(entry, data) {
    const sentences = Object.values(data.errors ?? {}).join(' ');
    saved(gettext('Not saved'), false);
    if (item().dataset.task !== entry.task) {
      note('bad', gettext('Item {number} was not saved', entry), sentences, button(gettext('Go back to it'), () => location.reload()));
      return;
    }
    release();
    note('bad', gettext('Not saved'), sentences);
  },
  lost(entry, data) {
    saved(gettext('Not saved'), false);
    const typed = new URLSearchParams(entry.body), text = typed.get('text') || typed.get('rationale') || '';
    const acts = item().dataset.task === entry.task ? [button(gettext('Next item'), () => location.reload())] : [];
    const at = note('bad', data.title ?? gettext('Item {number} could not be saved', entry), text ? gettext('What you wrote is kept below.') : entry.skipped ? '' : gettext('You had answered: {words}.', entry), ...acts);
    if (text) { const kept = document.createElement('textarea'); kept.className = 'input'; kept.readOnly = true; kept.value = text; kept.setAttribute('aria-label', gettext('What you wrote')); at.append(kept); }
  },
  away(waiting, seconds) {
    saved(gettext('Not saved yet'), false);
    const go = item().dataset.sent
      ? gettext('It is kept in this browser and sent once; the next item comes with the network. Trying again in {seconds} s.', { seconds })
      : gettext('Go on: up to ten are kept in this browser, and each is sent once. Trying again in {seconds} s.', { seconds });
    note('warn', ngettext('Your answer waits for the network', '{count} answers wait for the network', waiting), go, button(gettext('Try now'), queueNow)).setAttribute('role', 'alert');
  },
  signedOut() {
    saved(gettext('Not saved yet'), false);
    const dialog = $('#signin');
    if (!dialog.open) dialog.showModal();
    $('[name=password]', dialog).focus();
  },
}, entry => (item().dataset.task && item().dataset.task !== entry.task && !item().dataset.sent ? { next: item().dataset.task } : {}));
function queueNow() { queue.flush(); }

// The same item may be open in another tab: whoever answers first tells the others.
const tabs = globalThis.BroadcastChannel ? new BroadcastChannel(`hone-judged-${document.body.dataset.user}`) : null;
tabs?.addEventListener('message', event => {
  if (coming.holds(event.data)) coming.forget();
  if (item().dataset.task !== event.data || item().dataset.sent) return;
  saved(gettext('Saved in another tab'));
  note('warn', gettext('You answered this item in another tab'), gettext('That answer is saved. Submitting here would correct it.'), button(gettext('Next item'), () => location.reload()));
});

function release() { delete item().dataset.sent; form()?.removeAttribute('aria-busy'); }

// ---- drafts: on the server, and here for when the network is away ----
const forget = task => { try { localStorage.removeItem(drafts + task); } catch { /* nothing was kept */ } };

function restoreDraft() {
  const task = item().dataset.task;
  let kept = null;
  try { kept = localStorage.getItem(drafts + task); } catch { return; }
  if (!task || !kept || !form()) return;
  const values = new URLSearchParams(kept);
  for (const field of $$('input, textarea, select')) {
    if (field.form !== form() || ['key', 'seconds', 'csrfmiddlewaretoken'].includes(field.name) || !field.name || field.name === 'original') continue;
    if (field.type === 'radio' || field.type === 'checkbox') field.checked = values.getAll(field.name).includes(field.value);
    else if (values.has(field.name)) field.value = values.get(field.name);
  }
}

async function saveDraft() {
  clearTimeout(draftTimer);
  const at = item(), url = at.dataset.draft;
  if (!url || at.dataset.sent || !form()) return;
  const body = fields();
  try {
    const reply = await box.post(url, body);
    if (item() !== at || at.dataset.sent) return;   // what is said of the answer stands above what is said of its draft
    if (reply.status === 204) { lastRenewed = performance.now(); coming.renewed(); if (fields().toString() === body.toString()) forget(at.dataset.task); saved(gettext('Draft saved')); } else if (reply.status === 409) {
      ranOut();
    } else if (reply.status === 401) $('#signin').showModal();
    else saved(gettext('Draft kept in this browser'), false);
  } catch { if (item() === at && !at.dataset.sent) saved(gettext('Draft kept in this browser'), false); }
}

function changed() {
  const at = item();
  if (!at.dataset.task || !form()) return;
  try { localStorage.setItem(drafts + at.dataset.task, fields().toString()); } catch { /* the server's draft must do */ }
  clearTimeout(draftTimer);
  draftTimer = setTimeout(saveDraft, 600);
  left();
}

// ---- time and lease ----
function tick() {
  const now = performance.now();
  if (!document.hidden && now - lastActive < IDLE) active += Math.min(now - lastTick, 2000);
  lastTick = now;
  const seconds = Math.floor(active / 1000);
  $('#timer').textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  // After what waits to be sent: its reply clears the notes.
  if (now - lastRenewed > RENEW && now - lastActive < IDLE && item().dataset.renew && !box.waiting()) {
    lastRenewed = now;
    const at = item();
    box.post(at.dataset.renew, new URLSearchParams()).then(reply => {
      if (reply.status === 204) coming.renewed();
      if (reply.status === 409 && item() === at && !at.dataset.sent) ranOut();
    }).catch(() => {});
  }
}
setInterval(tick, 1000);
for (const kind of ['pointermove', 'keydown', 'scroll', 'touchstart']) addEventListener(kind, () => { lastActive = performance.now(); }, { passive: true, capture: true });

// ---- events ----
addEventListener('submit', async event => {
  if (event.target.id === 'judge') { event.preventDefault(); $$('details.menu[open]').forEach(menu => { menu.open = false; }); if (event.submitter?.name === 'keep') saveDraft(); else if (event.submitter?.name !== 'start') submit(event.submitter); }
  if (event.target.id === 'undo') { event.preventDefault(); undo(); }
  if (event.target.closest('#signin')) { event.preventDefault(); signIn(event.target); }
});

addEventListener('change', event => {
  const el = event.target;
  if (el.id === 'diff') { diff = el.checked; document.body.classList.toggle('alike', !diff); remember({ differences: diff ? '1' : '0' }); return; }
  if (el.id === 'raw') { raw = el.checked; document.body.classList.toggle('as-sent', raw); return; }
  if (el.id === 'auto') { auto = el.checked; remember({ one_key: auto ? '1' : '0' }); return; }
  if (el.matches?.('[name=pane], [data-single-keys]') || el.form !== form() || !form()) return;
  if (el.name === 'verdict') follow();
  if (el.name === 'why') told();
  if (el.name === 'verdict' && oneKey() && !item().dataset.sent) {
    if (performance.now() < quietUntil) { el.checked = false; return; }
    changed();
    submit();
    return;
  }
  changed();
  const row = el.closest('.likert');
  if (row) { say(`${row.dataset.name}: ${el.value}`); activate($$('.likert').find(one => !$(':checked', one))); }
});
addEventListener('input', event => { if (event.target.form === form() && typing(event.target)) changed(); });
addEventListener('htmx:afterSwap', () => {
  const told = $('#panes')?.dataset, at = $('#counts');
  if (!told || !at) return;
  for (const what of ['words', 'tokens']) $(`[data-${what}]`, at).textContent = number(told[what]);
  $('[data-changed]', at).textContent = told.changed ? gettext('Changed {changed}% of the draft', told) : '';
});

function canUndo(url) {
  $('#undo').hidden = !url;
  if (url) $('#undo').action = url; else $('#undo').removeAttribute('action');
}

async function undo() {
  const url = $('#undo').getAttribute('action');
  if (!url) return;
  if (box.waiting()) { note('warn', gettext('An answer still waits for the network'), gettext('It can be taken back when it is saved.'), button(gettext('Try now'), queueNow)); return; }
  let reply;
  try { reply = await box.post(url, new URLSearchParams()); } catch { note('warn', gettext('No network: nothing was taken back')); return; }
  if (reply.status === 401) { $('#signin').showModal(); return; }
  if (reply.status !== 200) { note('warn', reply.data.title ?? gettext('This judgment cannot be taken back')); return; }
  coming.forget();
  canUndo(reply.data.undo);
  count(reply.data);
  show(coming.parsed(reply.data.item));
  saved(gettext('Taken back'));
  say(gettext('Taken back. Your earlier answer is selected.'));
  setTimeout(fetchAhead, 300);
}

async function signIn(at) {
  const error = $('.error', at);
  error.hidden = true;
  let reply = { status: 0 };
  await fetch(at.action, { headers: { 'X-Requested-With': 'fetch' } }).catch(() => {});   // brings a token for the new session
  try { reply = await box.post(at.action, new URLSearchParams(new FormData(at))); } catch { /* told below */ }
  if (reply.status === 204) { $('[name=password]', at).value = ''; at.closest('dialog').close(); queue.flush(); return; }
  error.textContent = reply.status ? gettext('Name and password do not match.') : gettext('No network. Try again in a moment.');
  error.hidden = false;
}

// ---- keys ----
onKey((key, event) => {
  if (performance.now() < quietUntil) return true;
  const menu = $('details.menu[open]');
  if (why(key, menu)) return true;
  if (menu && /^[1-9]$/.test(key)) { $$('.pop button', menu)[key - 1]?.click(); return true; }
  if (key === 'Enter' && !event.target.closest('button:not(.rung), a, summary, label, input')) { form()?.requestSubmit($('#submit')); return true; }
  if (key === '[' || key === ']') { const at = $$('.resp')[key === '[' ? 0 : 1]; at?.focus(); at?.scrollIntoView({ block: 'nearest', inline: 'center' }); return Boolean(at); }
  if (key === 'r' && $('#text')) { $('#text').focus(); return true; }
  const chosen = $(`.beam input[data-key="${CSS.escape(key)}"]:checked`);
  if (chosen && oneKey()) { submit(); return true; }     // the earlier answer once more, after undo
  if (pick(key)) { changed(); return true; }
  return thumb(key) || rate(key);
});
addEventListener('keydown', event => {
  // Enter on a chosen step would do nothing in a radio group; here it submits.
  if (event.key === 'Enter' && !event.repeat && singleKeys() && event.target.matches?.('.beam input, .picks input, .likert input, .chip input')) { event.preventDefault(); form().requestSubmit($('#submit')); }
});
addEventListener('beforeunload', event => { if (box.waiting() > 0 && !navigator.onLine) event.preventDefault(); });

document.body.classList.toggle('alike', !diff);
start();
if (box.waiting()) queue.flush(); else setTimeout(fetchAhead, 300);
