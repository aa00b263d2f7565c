// Highlights: words of a response with a reason. Offsets are code points of the text as sent, so they outlive any
// rendering. The marks are drawn by the browser's own highlights, so the text itself is never touched.
import { $, $$, onKey, say } from './shell.mjs';
import { idly } from './coming.mjs';
import { gettext } from './words.mjs';

const SPACE = /[ \t\n\r\f\v]+/g;   // as in annotation/source_map.py
const TONES = ['bad', 'warn', 'ok', 'pick'];
const WAIT = 200;                  // ms after the last change of a selection

let list = [], pending = null, walk = null, timer = 0;
let changed = () => {};
let kept = new WeakMap();          // what was worked out of a response: its characters, its map, its words

const bar = () => $('#reason');
const field = () => $('#highlights');
const length = text => Array.from(text).length;
const visible = text => length(text.replace(SPACE, ''));
const blank = character => ' \t\n\r\f\v'.includes(character);
const shownRaw = () => Boolean($('#raw')?.checked);
const boxOf = node => (node?.nodeType === 1 ? node : node?.parentElement)?.closest('[data-side]') ?? null;
const shownIn = box => $(shownRaw() ? '.raw' : '.rendered', box);
const remembered = (box, name, make) => { const all = kept.get(box) ?? {}; kept.set(box, all); return (all[name] ??= make()); };
const source = box => remembered(box, 'source', () => Array.from($('.raw', box).textContent));

// The source offset of each visible character of the rendered text; null where the server could not tell.
const places = box => remembered(box, 'places', () => {
  const at = $('.rendered', box), runs = (at.dataset.runs ?? '').split(' ').filter(Boolean).map(Number);
  const text = source(box), total = visible(at.textContent), map = new Int32Array(total);
  if (!runs.length && total) return { map: null };
  for (let run = 0; run < runs.length; run += 2) {
    const last = run + 2 < runs.length ? runs[run + 2] : total;
    let from = runs[run + 1];
    for (let index = runs[run]; index < last; index += 1) {
      while (from < text.length && blank(text[from])) from += 1;
      map[index] = from; from += 1;
    }
  }
  return { map };
}).map;

function texts(box) {
  const walker = document.createTreeWalker(shownIn(box), NodeFilter.SHOW_TEXT), found = [];
  while (walker.nextNode()) found.push(walker.currentNode);
  return found;
}

// ---- from a selection to offsets, and back ----
function toSource(box, range) {
  const at = shownIn(box), inside = range.cloneRange(), before = document.createRange();
  if (!at.contains(inside.startContainer)) inside.setStart(at, 0);
  if (!at.contains(inside.endContainer)) inside.setEnd(at, at.childNodes.length);
  before.selectNodeContents(at);
  before.setEnd(inside.startContainer, inside.startOffset);
  const count = shownRaw() ? length : visible;
  const first = count(before.toString()), last = first + count(inside.toString());
  if (last <= first) return null;
  const map = shownRaw() ? null : places(box);
  let [start, end] = map ? [map[first], map[last - 1] + 1] : [first, last];
  const text = source(box);
  while (start < end && !visible(text[start])) start += 1;
  while (end > start && !visible(text[end - 1])) end -= 1;
  return start < end ? { side: box.dataset.side, start, end } : null;
}

// The text nodes, each with how many characters stand before it: a long text is walked once, not once for each highlight.
const nodes = box => remembered(box, shownRaw() ? 'raw nodes' : 'nodes', () => {
  let before = 0;
  return texts(box).map(node => { const entry = { node, before }; before += (shownRaw() ? length : visible)(node.data); return entry; });
});

// Where the character of that number stands: its node, and the code units before and behind it.
function spot(box, wanted) {
  const { node, before } = nodes(box).findLast(entry => entry.before <= wanted) ?? {};
  let seen = before, unit = 0;
  for (const character of node?.data ?? '') {
    if (shownRaw() || !blank(character)) { if (seen === wanted) return { node, unit, behind: unit + character.length }; seen += 1; }
    unit += character.length;
  }
  return null;
}

function toRange(box, start, end) {
  const map = shownRaw() ? null : places(box);
  if (!shownRaw() && !map) return null;
  const first = map ? map.findIndex(place => place >= start) : start;
  const after = map ? map.findIndex(place => place >= end) : end;
  const last = after < 0 ? map.length : after;
  if (first < 0 || last <= first) return null;
  const from = spot(box, first), to = spot(box, last - 1);
  if (!from || !to) return null;
  const range = document.createRange();
  range.setStart(from.node, from.unit);
  range.setEnd(to.node, to.behind);
  return range;
}

// ---- what is shown ----
function paint() {
  if (!globalThis.CSS?.highlights) return;
  const marks = Object.fromEntries(TONES.map(tone => [tone, new Highlight()]));
  for (const span of list) {
    const box = $(`[data-side="${CSS.escape(span.side)}"]`), range = box && toRange(box, span.start, span.end);
    if (range) marks[toneOf(span.reason)].add(range);
  }
  for (const tone of TONES) CSS.highlights.set(`span-${tone}`, marks[tone]);
}

const choice = reason => $$('[data-reason]', bar()).find(one => one.dataset.reason === reason);
const toneOf = reason => choice(reason)?.dataset.tone ?? 'pick';
const wordsOf = span => source($(`[data-side="${CSS.escape(span.side)}"]`)).slice(span.start, span.end).join('');

function element(tag, properties, ...children) {
  const one = Object.assign(document.createElement(tag), properties);
  one.append(...children);
  return one;
}

function draw() {
  $$('[data-spans-count]').forEach(at => { at.textContent = list.length; });
  $('[data-spans]')?.replaceChildren(...list.map((span, index) => {
    const label = choice(span.reason)?.dataset.label ?? span.reason;
    const cross = $('[data-cancel]', bar()).firstElementChild.cloneNode(true);
    const remove = element('button', { type: 'button', className: 'btn ghost icon sm', ariaLabel: gettext('Remove highlight {number}: {label}', { number: index + 1, label }) }, cross);
    remove.addEventListener('click', event => { event.stopPropagation(); take(span); });
    const side = $$('[data-side]').length > 1 ? `${span.side.toUpperCase()} ` : '';
    return element('li', {}, element('span', { className: 'muted' }, side + (index + 1)),
      element('span', { className: `tag ${toneOf(span.reason)}` }, label),
      element('span', { className: 'grow clip', dir: 'auto' }, wordsOf(span)), remove);
  }));
  paint();
}

function keep() {
  list.sort((one, other) => one.side.localeCompare(other.side) || one.start - other.start || one.end - other.end);
  field().value = JSON.stringify(list);
  draw();
  changed();
}

function take(span) {
  list = list.filter(one => one !== span);
  keep();
  say(gettext('Highlight removed'));
  $('[data-by-keys]')?.focus();
}

function give(button) {
  if (!pending) return;
  const span = { ...pending, reason: button.dataset.reason };
  list = list.filter(one => !(one.side === span.side && one.start === span.start && one.end === span.end));
  list.push(span);
  keep();
  say(gettext('Highlighted as {label}: {words}', { label: button.dataset.label, words: wordsOf(span) }));
  close(true);
}

function close(back = false) {
  const at = bar();
  if (!at || at.hidden) return;
  const box = pending && $(`[data-side="${CSS.escape(pending.side)}"]`), focused = at.contains(document.activeElement);
  at.hidden = true;
  pending = walk = null;
  if (back) getSelection().removeAllRanges();
  if (focused) (box?.closest('[tabindex]') ?? box)?.focus({ preventScroll: true });
}

// ---- a selection by pointer, and by keys word for word ----
function offer() {
  const at = bar(), selection = getSelection();
  if (!at || at.contains(document.activeElement)) return;
  const range = selection.rangeCount && !selection.isCollapsed ? selection.getRangeAt(0) : null;
  const box = range && boxOf(range.startContainer);
  pending = box && boxOf(range.endContainer) === box ? toSource(box, range) : null;
  at.hidden = !pending;
}

const allWords = box => remembered(box, shownRaw() ? 'raw words' : 'words', () => texts(box).flatMap(node => [...node.data.matchAll(/\S+/g)].map(match => ({ node, from: match.index, to: match.index + match[0].length }))));

// Worked out while nothing else happens, part by part: of a long text the first highlight would be felt.
function prepare(box, ...parts) {
  const [part, ...rest] = parts;
  if (part) idly(() => { if (box.isConnected) { part(box); prepare(box, ...rest); } });
}

function rectOf(word) {
  const range = document.createRange();
  range.setStart(word.node, word.from);
  range.setEnd(word.node, word.to);
  return range.getBoundingClientRect();
}

function select(first, last) {
  walk.first = Math.max(0, Math.min(first, walk.words.length - 1));
  walk.last = Math.max(walk.first, Math.min(last, walk.words.length - 1));
  const from = walk.words[walk.first], to = walk.words[walk.last];
  getSelection().setBaseAndExtent(from.node, from.from, to.node, to.to);
  pending = toSource(walk.box, getSelection().getRangeAt(0));
  const pane = walk.box.closest('.resp, .card') ?? walk.box, seen = pane.getBoundingClientRect(), rect = rectOf(to);
  if (rect.bottom > Math.min(seen.bottom, innerHeight - 160)) pane.scrollBy(0, rect.bottom - seen.bottom + 80);
  if (rect.top < seen.top + 48) pane.scrollBy(0, rect.top - seen.top - 64);
  say(getSelection().toString());
}

function byKeys() {
  if (!bar()) return;
  const near = boxOf(document.activeElement) ?? $('[data-side]', document.activeElement ?? document) ?? $('[data-side]');
  if (!shownRaw() && !places(near)) {
    $('#raw').click();
    say(gettext('Shown as raw text, so that the highlight is exact.'));
  }
  if (!pending) {
    const words = allWords(near), top = (near.closest('.resp, .card') ?? near).getBoundingClientRect().top + 44;
    if (!words.length) return;
    walk = { box: near, words };
    // The blocks above are passed by their own edges: asking for the place of each of their words would be felt.
    const block = [...shownIn(near).children].find(one => one.getBoundingClientRect().bottom > top);
    const from = block ? Math.max(0, words.findIndex(word => block.contains(word.node))) : 0;
    const first = words.findIndex((word, index) => index >= from && rectOf(word).top >= top);
    select(Math.max(0, first), Math.max(0, first));
  }
  bar().hidden = false;
  $('[data-reason]', bar()).focus();
}

function step(key, extend) {
  if (!walk) return;
  const { first, last, words } = walk;
  if (key === 'ArrowRight') select(extend ? first : last + 1, last + 1);
  if (key === 'ArrowLeft') select(extend ? first : first - 1, extend ? last - 1 : first - 1);
  if (key === 'ArrowDown' || key === 'ArrowUp') {
    const down = key === 'ArrowDown', edge = rectOf(words[last]);
    const lower = words.findIndex((word, index) => index > last && rectOf(word).top > edge.top + 2);
    const upper = words.findLastIndex((word, index) => index < last && rectOf(word).bottom < edge.bottom - 2);
    const at = down ? (lower < 0 ? words.length - 1 : lower) : Math.max(0, upper);
    select(extend ? first : at, at);
  }
}

// ---- the page's own entry: once for each item ----
export function spans(item, onChange) {
  list = [];
  pending = walk = null;
  kept = new WeakMap();
  changed = onChange;
  if (!field()) { if (globalThis.CSS?.highlights) CSS.highlights.clear(); return; }
  try { list = JSON.parse(field().value || '[]').filter(one => $(`[data-side="${CSS.escape(one.side)}"]`, item)); } catch { list = []; }
  $$('[data-reason]', bar()).forEach(button => button.addEventListener('click', () => give(button)));
  $('[data-cancel]', bar()).addEventListener('click', () => close(true));
  bar().addEventListener('mousedown', event => event.preventDefault());   // a press would take the selection away
  bar().addEventListener('keydown', event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') { event.stopPropagation(); close(true); }
    else if (event.key.startsWith('Arrow') && walk) { event.preventDefault(); event.stopPropagation(); step(event.key, event.shiftKey); }
    else if (/^[1-9]$/.test(event.key)) { event.preventDefault(); event.stopPropagation(); const one = $$('[data-reason]', bar())[event.key - 1]; if (one) give(one); }
  });
  $$('[data-by-keys]', item).forEach(button => button.addEventListener('click', () => { $$('details.menu[open]').forEach(menu => { menu.open = false; }); byKeys(); }));
  draw();
  $$('[data-side]', item).forEach(box => prepare(box, source, places, allWords));
}

document.addEventListener('selectionchange', () => { clearTimeout(timer); timer = setTimeout(offer, WAIT); });
addEventListener('change', event => { if (event.target.id === 'raw') { close(true); if (field()) paint(); } });
onKey(key => { if (key !== 'h' || !field()) return false; offer(); byKeys(); return true; });
