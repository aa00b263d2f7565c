// The next item, leased already: it is parsed while the present one is read. Where its responses are long, they are styled
// and laid out then, too, unseen in the panes of the present one, so that showing it is no more than a swap.
import { $, $$ } from './shell.mjs';

const FIRST = 2500, MORE = 8;   // characters of a long response at first, then blocks at a time
let html = '', item = null, staged = [];

export const idly = act => (globalThis.requestIdleCallback ? requestIdleCallback(act, { timeout: 200 }) : setTimeout(act, 20));

// The root of an item's HTML, belonging to this document. Of long responses only the first screenfuls have boxes.
export function parsed(text) {
  const template = document.createElement('template');
  template.innerHTML = text;
  for (const response of $$('.rendered.long', template.content)) {
    let seen = 0;
    for (const block of response.children) { block.classList.add(seen > FIRST ? 'later' : 'near'); seen += block.textContent.length; }
  }
  return document.adoptNode(template.content.querySelector('#item'));
}

// The rest of long responses, a few blocks at a time, before it can be read.
export function unfold(responses) {
  const later = responses.map(response => $$('.later', response));
  const some = () => {
    if (!responses.some(one => one.isConnected) || !later.some(blocks => blocks.length)) return;
    for (const blocks of later) blocks.splice(0, MORE).forEach(block => block.classList.remove('later'));
    requestAnimationFrame(() => idly(some));
  };
  requestAnimationFrame(() => requestAnimationFrame(some));
}

export const forget = () => { staged.forEach(({ response }) => { if (response.matches('.coming')) response.remove(); }); html = ''; item = null; staged = []; };
export const there = () => Boolean(html);
export const holds = task => html.includes(`data-task="${task}"`);

export function keep(text) {
  forget();
  html = text ?? '';
  if (html) idly(() => { if (html === text && !item) { item = parsed(html); stage($('#item')); } });
}

// A node that is moved is laid out anew, so a staged response stays where it is and the rest of its item comes to it.
function stage(at) {
  const panes = $$('.rendered', at).map(one => one.parentElement), responses = $$('.rendered', item);
  if (at.dataset.kind !== item.dataset.kind || panes.length !== responses.length || !responses.some(one => one.matches('.long'))) return;
  staged = responses.map((response, n) => {
    const place = document.createElement('i'), { id } = response;
    place.dataset.staged = n;
    response.replaceWith(place);
    response.removeAttribute('id');
    response.classList.add('coming');
    panes[n].append(response);
    return { response, id };
  });
}

// `at` becomes `next`: its attributes, and all of its children but those on the way to a staged response.
function become(at, next) {
  if (next.dataset.staged) { at.classList.remove('coming'); at.id = staged[next.dataset.staged].id; return; }
  for (const { name } of [...at.attributes]) if (!next.hasAttribute(name)) at.removeAttribute(name);
  for (const { name, value } of next.attributes) if (at.getAttribute(name) !== value) at.setAttribute(name, value);
  const stays = [...at.children].filter(one => one.matches('.coming') || $('.coming', one));
  for (const one of [...at.childNodes]) if (!stays.includes(one)) one.remove();
  let here = null;
  for (const one of [...next.childNodes]) {
    const same = one.nodeType === 1 && (one.dataset.staged || $('[data-staged]', one));
    const now = same ? stays.shift() : one;
    if (same) become(now, one); else if (here) here.after(one); else at.prepend(one);
    here = now;
  }
}

function replace(at, next) {
  at.replaceWith(next);
  unfold($$('.rendered.long', next));
}

// What puts the item of that HTML in place of another.
export const instead = text => at => replace(at, parsed(text));

// The coming item is shown in place of `at`; nothing is coming afterwards.
export function enter(at) {
  const laid = staged.length && staged.every(({ response }) => at.contains(response));
  if (laid) {
    const panes = $$('.coming', at).flatMap(one => [one.parentElement, one.closest('.card'), one.closest('.compare, .four-up'), one.closest('main')]);
    become(at, item);
    unfold(staged.map(one => one.response));
    for (const pane of new Set(panes)) pane?.scrollTo(0, 0);
  } else {
    replace(at, staged.length || !item ? parsed(html) : item);
  }
  forget();
}
