// The ranking ladder over the plain selects: letters pick up, digits place, arrows move, T ties; drag and tap work too.
import { $, $$, onKey, say } from './shell.mjs';
import { gettext } from './words.mjs';

let held = null;

export function ladder(item) {
  held = null;
  const list = $('.ladder', item);
  if (!list) return;
  list.hidden = false;
  $('.tray', item).hidden = false;
  $('.places', item).classList.add('sr');
  $$('.places select', item).forEach(select => { select.tabIndex = -1; if (select.value) slot(Number(select.value)).append(rung(select.dataset.letter)); });
  tell();
  for (const one of $$('.rung', item)) {
    one.addEventListener('dragstart', event => { event.dataTransfer.setData('text/plain', one.dataset.letter); hold(one); });
    one.addEventListener('click', event => {
      event.stopPropagation();
      if (held && held !== one && numberOf(one)) { place(held, one.parentElement); hold(null); return; }   // its place is meant, not itself
      hold(one === held ? null : one);
    });
  }
  for (const one of $$('.slot', item)) {
    one.addEventListener('dragover', event => event.preventDefault());
    one.addEventListener('drop', event => { event.preventDefault(); const moved = rung(event.dataTransfer.getData('text/plain')); if (moved) { place(moved, one); hold(null); } });
    one.addEventListener('click', () => { if (held) { place(held, one); hold(null); } });
  }
}

const slots = () => $$('.ladder .slot');
const slot = number => slots()[number - 1];
const rung = letter => $(`.rung[data-letter="${CSS.escape(letter)}"]`);
const numberOf = one => slots().indexOf(one.parentElement) + 1;

function hold(one) {
  $$('.rung').forEach(each => { each.classList.toggle('held', each === one); each.setAttribute('aria-pressed', String(each === one)); });
  held = one;
  one?.focus();
}

function place(one, at) {
  at.append(one);
  tell();
  const number = numberOf(one);
  const said = !number ? gettext('{letter} is not placed', one.dataset)
    : at.children.length > 1 ? gettext('{letter} is now place {number}, tied', { letter: one.dataset.letter, number })
      : gettext('{letter} is now place {number}', { letter: one.dataset.letter, number });
  say(said);
  $('.places select').dispatchEvent(new Event('change', { bubbles: true }));
}

function tell() {
  for (const one of $$('.rung')) {
    const number = numberOf(one);
    $(`.places select[data-letter="${one.dataset.letter}"]`).value = number || '';
    $('[data-where]', one).textContent = number ? gettext('place {number}', { number }) : gettext('not placed');
  }
  slots().forEach(at => { $('[data-tied]', at.closest('li')).textContent = at.children.length > 1 ? ` ${gettext('tied')}` : ''; });
  $('.tray').hidden = !$('.tray .rung');
}

onKey(key => {
  if (!$('.ladder')) return false;
  const letter = /^[a-h]$/.test(key) ? rung(key.toUpperCase()) : null;
  if (letter) { hold(letter === held ? null : letter); say(held ? gettext('Holding {letter}', held.dataset) : gettext('Put down')); return true; }
  if (!held) return false;
  if (key === 'Enter') { hold(null); say(gettext('Put down')); return Boolean($('.tray .rung')); }   // the last one placed: on to submit
  const number = numberOf(held), last = slots().length;
  if (/^[1-8]$/.test(key) && slot(Number(key))) { place(held, slot(Number(key))); hold(null); return true; }
  if (key === 'ArrowLeft' || key === 'ArrowRight') { place(held, slot(Math.max(1, Math.min(last, (number || (key === 'ArrowLeft' ? last + 1 : 0)) + (key === 'ArrowLeft' ? -1 : 1))))); held.focus(); return true; }
  if (key === 't' && number > 1) { const up = slots().slice(0, number - 1).findLast(at => at.children.length); if (up) place(held, up); held.focus(); return true; }
  return false;
});
addEventListener('keydown', event => { if (event.key === 'Escape' && held) hold(null); });
