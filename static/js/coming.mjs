// The next item, leased already: it is parsed while the present one is read, so that showing it is no more than a swap.
// Of long responses the first screenfuls are laid out at once and the rest in the moments after, before it can be read.
import { $$ } from './shell.mjs';

const FIRST = 2500, MORE = 8;   // characters of a long response at first, then blocks at a time
let html = '', item = null;

export const idly = act => (globalThis.requestIdleCallback ? requestIdleCallback(act, { timeout: 200 }) : setTimeout(act, 20));

// The root of an item's HTML, belonging to this document.
export function parsed(text) {
  const template = document.createElement('template');
  template.innerHTML = text;
  for (const response of $$('.rendered.long', template.content)) {
    let seen = 0;
    for (const block of response.children) { if (seen > FIRST) block.classList.add('later'); seen += block.textContent.length; }
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

export const forget = () => { html = ''; item = null; };
export const there = () => Boolean(html);
export const holds = task => html.includes(`data-task="${task}"`);

export function keep(text) {
  forget();
  html = text ?? '';
  if (html) idly(() => { if (html === text) item ??= parsed(text); });
}

// The item itself; nothing is coming afterwards.
export function take() {
  const taken = item ?? parsed(html);
  forget();
  return taken;
}
