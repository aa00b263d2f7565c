// The next item, leased already: it is parsed while the present one is read, so that showing it is no more than a swap.
// Of long responses the first screenfuls are laid out at once and the rest in the moments after, before it can be read.
import { $, $$ } from './shell.mjs';

const MORE = 8;         // blocks of a long response at a time, after the first screenful
const LATEST = 200;     // ms within which an answer goes out, painted or not
const CHARACTER = 190;  // px² that one takes on the screen
let html = '', item = null, at = 0;

export const idly = act => (globalThis.requestIdleCallback ? requestIdleCallback(act, { timeout: 200 }) : setTimeout(act, 20));

// How many characters fill what is seen of a response.
function screenful() {
  const at = $('.resp') ?? $('.split > .card') ?? $('main');
  return at.clientWidth * Math.min(at.clientHeight, innerHeight) / CHARACTER;
}

// The root of an item's HTML, belonging to this document.
export function parsed(text) {
  const template = document.createElement('template');
  template.innerHTML = text;
  const first = screenful();
  for (const response of $$('.rendered.long', template.content)) {
    let seen = 0;
    for (const block of response.children) { block.classList.add(seen > first ? 'later' : 'first'); seen += block.textContent.length; }
  }
  return document.adoptNode(template.content.querySelector('#item'));
}

export function unfold(shown) {
  const later = $$('.rendered.long', shown).map(response => $$('.later', response));
  const some = () => {
    if (!shown.isConnected || !later.some(blocks => blocks.length)) return;
    for (const blocks of later) blocks.splice(0, MORE).forEach(block => block.classList.remove('later'));
    requestAnimationFrame(() => idly(some));
  };
  requestAnimationFrame(() => requestAnimationFrame(some));
}

// Acts when the item just shown is on the screen: what the server does for an answer would share the processor with drawing
// the next item where both run on one machine. In a hidden page, which draws nothing, the clock decides.
export function painted(act) {
  let acted = false;
  const once = () => { if (!acted) { acted = true; act(); } };
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(once)));
  setTimeout(once, LATEST);
}

export const forget = () => { html = ''; item = null; };
export const there = () => Boolean(html);
export const since = () => at;   // when its lease was as long as a new one
export const renewed = () => { at = performance.now(); };
export const holds = task => html.includes(`data-task="${task}"`);

export function keep(text) {
  forget();
  html = text ?? '';
  renewed();
  if (html) idly(() => { if (html === text) item ??= parsed(text); });
}

// The item itself; nothing is coming afterwards.
export function take() {
  const taken = item ?? parsed(html);
  forget();
  return taken;
}
