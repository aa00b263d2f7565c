// The keys that answer a question: digits and letters for aspects, ratings, thumbs and quick reasons.
import { $, $$, say } from './shell.mjs';
import { gettext } from './words.mjs';

export function activate(row, scroll = true) {
  $$('.likert').forEach(one => one.classList.toggle('active', one === row));
  if (scroll) row?.scrollIntoView({ block: 'nearest' });
  $$('.turn[data-turn]').forEach(turn => turn.classList.toggle('now', Boolean(row?.dataset.of) && turn.dataset.turn === row.dataset.of));
}

export function rate(key) {
  const rows = $$('.likert'), row = $('.likert.active');
  if (!rows.length) return false;
  if (row && /^[0-9-]$/.test(key)) { $(`input[value="${{ 0: 10, '-': 11 }[key] ?? key}"]`, row)?.click(); return true; }   // by their place on the keyboard
  if (key !== 'ArrowDown' && key !== 'ArrowUp') return false;
  const at = row ? rows.indexOf(row) : key === 'ArrowDown' ? -1 : rows.length;
  activate(rows[Math.max(0, Math.min(rows.length - 1, at + (key === 'ArrowDown' ? 1 : -1)))]);
  return true;
}

export function told() {
  const chosen = $$('[name=why]:checked');
  if ($('[data-why-count]')) $('[data-why-count]').textContent = chosen.length || '';
  say(chosen.map(one => one.parentElement.firstChild.nextSibling.textContent.trim()).join(', ') || gettext('No reason'));
}

// R opens the quick reasons, a digit takes one; R again goes on to the field for one's own words.
export function why(key, menu) {
  if (menu?.id !== 'why') return false;
  if (key === 'r') { menu.open = false; if ($('#rationale')) $('#rationale').focus(); return true; }
  if (!/^[1-9]$/.test(key)) return false;
  $$('[name=why]', menu)[key - 1]?.click();
  menu.open = false;
  return true;
}

export function thumb(key) {
  const wanted = { y: '2', n: '1' }[key], rows = $$('.likert:has(.thumbs)');
  const row = rows.find(one => one.classList.contains('active')) ?? rows.find(one => !$(':checked', one)) ?? rows[0];
  if (!wanted || !row) return false;
  $(`input[value="${wanted}"]`, row).click();
  return true;
}

export function pick(key) {
  const aspect = $$('.picks').find(one => $('kbd', one)?.textContent.toLowerCase() === key);
  if (!aspect) return false;
  const radios = $$('input', aspect), at = radios.findIndex(radio => radio.checked);       // A, same, B, none
  if (at >= 0) radios[at].checked = false;
  if (at < radios.length - 1) radios[at + 1].checked = true;
  say(`${aspect.dataset.name}: ${at < radios.length - 1 ? radios[at + 1].getAttribute('aria-label') : gettext('no answer')}`);
  return true;
}
