// Answers on their way to the server. Each waits in localStorage under its own key until the server says it is stored,
// so that neither a dropped network nor a closed tab loses one, and a repeat is recognised by the same key.
import { cookie } from './shell.mjs';

const WAITS = [2000, 4000, 8000, 30000];
const MOST = 10;
const KEPT_ALIVE = 60_000;   // bytes that a browser still sends for a page that is gone
const user = document.body.dataset.user;
const place = `hone-outbox-${user}`;
const memory = new Map();

const read = () => {
  try { return JSON.parse(localStorage.getItem(place)) ?? []; } catch { return memory.get(place) ?? []; }
};
const write = entries => {
  memory.set(place, entries);
  try { localStorage.setItem(place, JSON.stringify(entries)); } catch { /* private mode: memory must do */ }
};

export const waiting = () => read().length;
export const judged = () => read().filter(entry => !entry.skipped).length;
export const full = () => waiting() >= MOST;
export const put = entry => write([...read(), entry]);
const drop = key => write(read().filter(entry => entry.key !== key));

export async function post(url, body, keepalive = false) {
  const headers = { 'X-Requested-With': 'fetch', 'X-CSRFToken': cookie('csrftoken') ?? '' };
  const response = await fetch(url, { method: 'POST', body, headers, credentials: 'same-origin', redirect: 'manual', keepalive });
  const json = response.headers.get('Content-Type')?.startsWith('application/json');
  return { status: response.status, data: json ? await response.json() : {} };
}

// on: { sending, saved(entry, data), refused(entry, data), lost(entry, data), away(count, seconds), signedOut() };
// `extra(entry)` adds what is only known at the moment of sending.
export function outbox(on, extra) {
  let busy = false, leaving = false, tries = 0, timer = 0;

  async function flush() {
    clearTimeout(timer);
    if (busy) return;
    busy = true;
    try {
      for (let entry = read()[0]; entry; entry = read()[0]) {
        on.sending(entry);
        const body = new URLSearchParams(entry.body);
        for (const [name, value] of Object.entries(extra(entry))) body.set(name, value);
        let reply;
        try { reply = await post(entry.url, body, leaving && body.toString().length < KEPT_ALIVE); } catch { reply = { status: 0 }; }
        if (reply.status === 401) { on.signedOut(); return; }
        if (reply.status === 403 && !entry.again) {
          // The token was from another session: fetch a page for a new one, then try once more.
          entry.again = true;
          write(read().map(one => (one.key === entry.key ? entry : one)));
          await fetch(location.href).catch(() => {});
          continue;
        }
        if (reply.status === 0 || reply.status === 429 || reply.status >= 500) { later(); return; }
        drop(entry.key);
        tries = 0;
        if (reply.status === 200) on.saved(entry, reply.data);
        else if (reply.status === 422) on.refused(entry, reply.data);
        else on.lost(entry, reply.data);
      }
    } finally { busy = false; }
  }

  function later() {
    const wait = WAITS[Math.min(tries, WAITS.length - 1)];
    timer = setTimeout(flush, wait);
    tries += 1;
    on.away(waiting(), wait / 1000);
  }

  addEventListener('online', flush);
  addEventListener('pagehide', () => { leaving = true; flush(); });
  addEventListener('pageshow', () => { leaving = false; });
  return { flush };
}
