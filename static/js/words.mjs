// Words in the reader's language: the page brings a catalog where there is one (annotation/words.py), English needs none.
const { catalog = {}, plurals = [] } = JSON.parse(document.getElementById('words')?.textContent ?? '{}');
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => values?.[name] ?? whole);

// The text in the reader's language, with {name} filled in from `values`.
export const gettext = (text, values) => fill([catalog[text] ?? text].flat()[0], values);

// As gettext, in the form that goes with `count`, which is also a value.
export function ngettext(one, many, count, values) {
  const forms = catalog[one], at = plurals[count < 200 ? count : 100 + count % 100];
  return fill(forms ? [forms].flat()[at] ?? many : count === 1 ? one : many, { count, ...values });
}

export const number = value => Number(value).toLocaleString(document.documentElement.lang || 'en');
