// Changes as they happen (server-sent events), and whether they can be had: over and over again until the page goes.

import { apiUrl } from './api.js';
import { checkSession } from './session.js';

const SHORTEST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

// Calls `onReady()` when all has to be loaded, `onChange(kind, data)` for a change, and `onState` with 'live', 'waiting' (for the
// server), 'offline' or 'ended' (the session).
export class Live {
  #pause = SHORTEST_PAUSE;
  #handlers;
  #source;
  #timer;

  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener('online', () => this.#reconnect());
    addEventListener('offline', () => this.#handlers.onState('offline'));
    addEventListener('session-ended', () => this.#end());
    // A page that comes back from the browser's cache has missed what happened.
    addEventListener('pageshow', ({ persisted }) => { if (persisted) this.#reconnect(); });
    this.#connect();
  }

  #connect() {
    clearTimeout(this.#timer);
    this.#source?.close();
    const source = new EventSource(apiUrl('organization/events'));
    this.#source = source;
    source.addEventListener('ready', () => {
      this.#pause = SHORTEST_PAUSE;
      this.#handlers.onState('live');
      this.#handlers.onReady();
    });
    source.addEventListener('reload', () => this.#handlers.onReady());
    for (const kind of ['message', 'credential']) {
      source.addEventListener(kind, ({ data }) => this.#handlers.onChange(kind, JSON.parse(data)));
    }
    source.onerror = () => this.#lost();
  }

  // The stream ended: with the token, with the server, or on the way.
  #lost() {
    this.#source.close();
    this.#handlers.onState(navigator.onLine ? 'waiting' : 'offline');
    this.#timer = setTimeout(() => this.#reconnect(), this.#pause);
    this.#pause = Math.min(this.#pause * 2, LONGEST_PAUSE);
  }

  async #reconnect() {
    clearTimeout(this.#timer);
    try {
      await checkSession(); // 401 ends the session
      this.#connect();
    } catch (error) {
      if (error.status !== 401) this.#lost();
    }
  }

  #end() {
    clearTimeout(this.#timer);
    this.#source.close();
    this.#handlers.onState('ended');
  }
}
