// The adjudication page: Enter overrules with the verdict that the button names. The form works without this file.
import { $, $$, onKey, singleKeys } from './shell.mjs';
import { gettext } from './words.mjs';

const QUIET = 250; // ms after loading in which keys do nothing, so that a double press cannot settle unread text
const opened = performance.now();
const form = $('#judge'), main = $('#overrule'), comment = $('#comment');

function tell() {
  const chosen = $('[name=verdict]:checked', form);
  if (main && chosen) $('#overrule-label').textContent = gettext('Overrule: {verdict}', { verdict: chosen.getAttribute('aria-label') });
}
form.addEventListener('change', tell);
tell();

// A return without a comment would tell the annotator nothing.
form.addEventListener('submit', event => {
  if (!event.submitter?.value.startsWith('return:') || comment.value.trim()) { comment.setCustomValidity(''); return; }
  event.preventDefault();
  comment.setCustomValidity(gettext('Say what to look at again: the annotator sees nothing else.'));
  comment.reportValidity();
});
comment.addEventListener('input', () => comment.setCustomValidity(''));

onKey((key, event) => {
  if (performance.now() - opened < QUIET) return true;
  if (key === 'Enter' && main && !event.target.closest('button, a, summary, label, select, input')) { form.requestSubmit(main); return true; }
  if (key === '[' || key === ']') { const at = $$('.resp')[key === '[' ? 0 : 1]; at?.focus(); at?.scrollIntoView({ block: 'nearest', inline: 'center' }); return Boolean(at); }
  return false;
});
addEventListener('keydown', event => {
  // Enter on a chosen step, too, takes the button that names it.
  if (event.key === 'Enter' && !event.repeat && main && singleKeys() && event.target.matches?.('.beam input, .likert input, .chip input')) { event.preventDefault(); form.requestSubmit(main); }
});
