// The list of the API's operations: a filter that narrows it as one types, and addresses that open what they name.
import { $, $$ } from './shell.mjs';
import { ngettext } from './words.mjs';

const field = $('#filter'), operations = $$('.operation');
const texts = new Map(operations.map(one => [one, one.textContent.toLowerCase()]));

function narrow() {
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  operations.forEach(one => { one.hidden = !words.every(word => texts.get(one).includes(word)); });
  $$('[data-subject]').forEach(section => {
    const left = $$('.operation:not([hidden])', section).length;
    section.hidden = !left;
    $('[data-count]', section).textContent = left;
  });
  const count = operations.filter(one => !one.hidden).length;
  $('#nothing').hidden = count > 0;
  $('#shown').textContent = ngettext('{count} operation', '{count} operations', count);
}

function reveal() {
  const named = document.getElementById(location.hash.slice(1));
  if (!named?.matches('.operation')) return;
  if (named.hidden) { field.value = ''; narrow(); }
  named.open = true;
  named.scrollIntoView();
}

field.addEventListener('input', narrow);
addEventListener('hashchange', reveal);
if (field.value) narrow();  // a browser that comes back keeps what was typed
reveal();
