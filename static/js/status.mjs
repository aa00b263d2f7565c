// What the judging page says about itself: saved or not, notes above the dock, how far one is.
import { $, $$, say } from './shell.mjs';
import { gettext, number } from './words.mjs';

export function saved(text, ok = true) {
  const at = $('#saved');
  const mark = ok ? document.createElementNS('http://www.w3.org/2000/svg', 'svg') : null;
  at.replaceChildren(...(mark ? [mark] : []), text);
  if (!mark) return;
  mark.setAttribute('class', 'i'); mark.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', $('.bar-top use').getAttribute('href').replace(/#.*/, '#i-check'));
  mark.append(use);
}

export function note(kind, title, text = '', ...acts) {
  const place = $('#problems') ?? document.body;
  const section = document.createElement('div');
  section.className = `note ${kind}`;
  section.setAttribute('role', kind === 'bad' ? 'alert' : 'status');
  const strong = document.createElement('strong');
  strong.textContent = title;
  section.append(strong);
  if (text) { const p = document.createElement('p'); p.textContent = text; section.append(p); }
  if (acts.length) { const box = document.createElement('div'); box.className = 'acts'; box.append(...acts); section.append(box); }
  place.replaceChildren(section);
  return section;
}

export const clearNotes = kind => $$(`#problems > .note${kind ? `.${kind}` : ''}`).forEach(one => one.remove());

export function button(label, act) {
  const one = document.createElement('button');
  one.type = 'button'; one.className = 'btn sm'; one.textContent = label;
  one.addEventListener('click', act);
  return one;
}

// The goal in the top bar, as the server counts it.
export function count(data) {
  $('#goal-done').textContent = number(data.done);
  $('#goal-total').textContent = number(data.total) + (data.more ? '+' : '');
  const bar = $('#goal-bar'), share = data.total ? Math.min(100, Math.round(100 * data.done / data.total)) : 0;
  bar.setAttribute('aria-valuenow', data.done); bar.setAttribute('aria-valuemax', data.total);
  bar.firstElementChild.className = `p${share}`;
  if (data.reached && $('#goal-reached').hidden) say(gettext('Your goal for today is reached'));
  $('#goal-reached').hidden = !data.reached;
}
