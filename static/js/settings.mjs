// The settings' preview follows the form while it is filled in.
import { $ } from './shell.mjs';

const form = $('#questions'), refresh = $('#refresh');
let timer = 0;

function soon() {
  clearTimeout(timer);
  timer = setTimeout(() => form.requestSubmit(refresh), 400);
}

refresh.hidden = true;
form.addEventListener('change', soon);
form.addEventListener('input', soon);
addEventListener('change', event => {
  if (event.target.name === 'preview-size') $('#frame').classList.toggle('phone', event.target.value === 'phone');
});
