// The demonstration editor: a few Markdown tools, saving by key, and the model's draft as a start.
import { $, $$, say } from './shell.mjs';
import { gettext } from './words.mjs';

const LINES = { head: '## ', list: '- ' };
const AROUND = { bold: ['**', '**', gettext('bold')], code: ['`', '`', gettext('code')], link: ['[', '](https://)', gettext('text')] };
const TABLE = `\n| ${gettext('Column')} | ${gettext('Column')} |\n| --- | --- |\n| ${gettext('Cell')} | ${gettext('Cell')} |\n`;

const TYPED = 5_000;   // characters; a long draft takes a second to type in, and is written in instead

// As if typed, so that Ctrl+Z takes it back; where a browser does not do that, it is written in.
function insert(area, text, from, to) {
  area.focus();
  area.setSelectionRange(from, to);
  if (text.length + to - from < TYPED && document.execCommand('insertText', false, text)) return;
  area.setRangeText(text, from, to, 'end');
  area.dispatchEvent(new Event('input', { bubbles: true }));
}

function apply(area, name) {
  const { selectionStart: from, selectionEnd: to, value } = area;
  if (name === 'table') { insert(area, TABLE, to, to); return; }
  if (LINES[name]) {
    const start = value.lastIndexOf('\n', from - 1) + 1;
    insert(area, value.slice(start, to).split('\n').map(line => LINES[name] + line).join('\n'), start, to);
    return;
  }
  const [open, close, word] = AROUND[name], chosen = value.slice(from, to) || word;
  insert(area, open + chosen + close, from, to);
  area.setSelectionRange(from + open.length, from + open.length + chosen.length);
}

export function editor(item, save) {
  const area = $('#text', item);
  if (!area) return;
  $$('[data-md]', item).forEach(button => button.addEventListener('click', () => apply(area, button.dataset.md)));
  area.addEventListener('keydown', event => {
    if (!event.ctrlKey && !event.metaKey) return;
    const key = event.key.toLowerCase(), act = { b: 'bold', k: 'link' }[key];
    if (act) { event.preventDefault(); apply(area, act); }
    if (key === 's') { event.preventDefault(); save(); }
  });
  $('[data-start]', item)?.addEventListener('click', event => {
    event.preventDefault();
    if (area.value.trim() && area.value !== $('#original').value && !confirm(gettext('Replace what you wrote with the draft?'))) return;
    insert(area, $('#original').value, 0, area.value.length);
    say(gettext('The draft is in the editor.'));
  });
  if (area.value) area.dispatchEvent(new Event('shown'));
}
