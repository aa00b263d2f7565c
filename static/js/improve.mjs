// The box in which the winner is rewritten: it begins with the winner's own text and follows the choice until edited.
import { $, $$, say } from './shell.mjs';
import { gettext } from './words.mjs';

const sides = () => Object.fromEntries($$('[data-side]').map(box => [box.dataset.side, $('.raw', box).textContent]));
const winner = () => { const step = Number($('[name=verdict]:checked')?.value); return step < 4 ? 'a' : step > 4 ? 'b' : ''; };

export const improving = () => Boolean($('#improve')?.open);

// The winner's text comes in, unless somebody has written something of their own.
export function follow() {
  const area = $('#improved'), side = winner();
  if (!area || !improving()) return;
  const texts = sides();
  if (area.value && !Object.values(texts).includes(area.value)) return;
  area.value = side ? texts[side] : '';
  if (side) say(gettext('The text of response {side} is in the box', { side: side.toUpperCase() }));
}

// What was not changed is not sent: a box that was opened and left says nothing.
export function tidy() {
  const area = $('#improved');
  if (area && Object.values(sides()).includes(area.value)) area.value = '';
}

export function improve(item, onChange) {
  const box = $('#improve', item);
  if (!box) return;
  // Opened here and now: the browser's own `toggle` comes a task later, and a focus moved then would eat the keys pressed since.
  $('summary', box).addEventListener('click', event => {
    event.preventDefault();
    box.open = !box.open;
    if (box.open) { follow(); $('#improved').focus(); }
  });
  box.addEventListener('toggle', () => { if (box.open) follow(); else { tidy(); onChange(); } });
}
