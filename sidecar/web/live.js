// Changes as they happen (server-sent events), for as long as the page is open: a stream that ends is opened again.

import { apiUrl } from './api.js';
import { checkSession } from './session.js';

const SHORTEST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

// Calls `onReady()` when all has to be loaded, `onChange(kind, data)` for a change, and `onState` with 'live', 'slow' (the server has
// no stream for us: onReady() is called now and then), 'waiting' (for the server), 'offline' or 'ended' (the session).
export class Live {
  #handlers;
  #pause = SHORTEST_PAUSE;
  #source = null;
  #timer = null;
  #worked = false; // the latest stream was ready once
  #ended = false;

  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener('online', () => this.#reconnect());
    addEventListener('offline', () => { if (!this.#ended) this.#handlers.onState('offline'); });
    addEventListener('session-ended', () => this.#end());
    // A page that comes back from the browser's cache has missed what happened.
    addEventListener('pageshow', ({ persisted }) => { if (persisted) this.#reconnect(); });
    this.#connect();
  }

  #connect() {
    this.#source?.close();
    this.#worked = false;
    this.#source = new EventSource(apiUrl('organization/events'));
    this.#source.addEventListener('ready', () => {
      this.#worked = true;
      this.#pause = SHORTEST_PAUSE;
      this.#handlers.onState('live');
      this.#handlers.onReady();
    });
    this.#source.addEventListener('reload', () => this.#handlers.onReady());
    for (const kind of ['message', 'credential']) {
      this.#source.addEventListener(kind, ({ data }) => this.#handlers.onChange(kind, JSON.parse(data)));
    }
    // It ended with the token or with the server, or was refused.
    this.#source.onerror = () => {
      if (this.#worked) this.#sayAway();
      this.#later();
    };
  }

  #sayAway() { this.#handlers.onState(navigator.onLine ? 'waiting' : 'offline'); }

  #later() {
    this.#source.close();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#reconnect(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  async #reconnect() {
    if (this.#ended) return;
    clearTimeout(this.#timer);
    try {
      await checkSession(); // 401 ends the session
    } catch {
      if (this.#ended) return;
      this.#sayAway();
      this.#later();
      return;
    }
    if (!this.#worked) {
      this.#handlers.onState('slow');
      this.#handlers.onReady();
    }
    this.#connect();
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#source.close();
    this.#handlers.onState('ended');
  }
}
