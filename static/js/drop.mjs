// Dropping a file does what choosing one does.
import { $ } from './shell.mjs';

const form = $('[data-drop]'), input = $('[type=file]', form), box = $('.drop', form);
box.addEventListener('dragover', event => { event.preventDefault(); box.classList.add('over'); });
box.addEventListener('dragleave', () => box.classList.remove('over'));
box.addEventListener('drop', event => {
  event.preventDefault();
  box.classList.remove('over');
  if (event.dataTransfer.files.length) { input.files = event.dataTransfer.files; form.requestSubmit(); }
});
