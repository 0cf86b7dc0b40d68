// The list of messages, newest first, page by page, kept up to date.

import { get } from './api.js';
import { badge } from './badge.js';
import { el, replaceChildren } from './dom.js';
import { act } from './form.js';
import { ago, atTime } from './format.js';
import { toast } from './toast.js';

const PAGE = 50;
const NEWS_MS = 300; // changes within so long are loaded at once
const MOST_PAGES = 10; // of a search that found little: each looks at 5,000 messages

export class MessageList {
  #parent;
  #open;
  #filters = { search: '', status: '' };
  #messages = [];
  #next = null;
  #changed = new Set();
  #timer = null;
  #turn = 0; // answers to former questions are dropped

  // `open(id)` shows a message.
  constructor(parent, open) {
    this.#parent = parent;
    this.#open = open;
  }

  filter(filters) {
    this.#filters = filters;
    return this.load().catch((error) => { if (error.status !== 401) toast(error.message, 'bad'); });
  }

  // From the start, as far as the list went before.
  async load() {
    const turn = ++this.#turn;
    this.#parent.setAttribute('aria-busy', 'true');
    const wanted = Math.max(PAGE, this.#messages.length);
    const messages = [];
    let next = null;
    for (let page = 0; messages.length < wanted && (page === 0 || (next && page < MOST_PAGES)); ++page) {
      const found = await this.#page(next);
      if (turn !== this.#turn) return;
      messages.push(...found.items);
      next = found.next;
    }
    this.#messages = messages;
    this.#next = next;
    this.#show();
  }

  // Something happened to the message: it is new, or another now.
  changed(id) {
    this.#changed.add(id);
    this.#timer ??= setTimeout(() => this.#loadChanged(), NEWS_MS);
  }

  async #loadChanged() {
    this.#timer = null;
    const known = this.#messages.length <= PAGE || [...this.#changed].some((id) => !this.#messages.some((each) => each.id === id));
    const ids = [...this.#changed];
    this.#changed.clear();
    try {
      if (known || ids.length > 10) return await this.load();
      const fresh = await Promise.all(ids.map((id) => get(`organization/messages/${id}`)));
      this.#messages = this.#messages.map((each) => fresh.find(({ id }) => id === each.id) ?? each);
      this.#show();
    } catch (error) {
      for (const id of ids) this.#changed.add(id); // the stream's next start loads all
    }
    return undefined;
  }

  #page(after) {
    const query = new URLSearchParams({ limit: PAGE });
    for (const [name, value] of Object.entries({ ...this.#filters, after })) if (value) query.set(name, value);
    return get(`organization/messages?${query}`);
  }

  async #more() {
    const turn = ++this.#turn;
    const found = await this.#page(this.#next);
    if (turn !== this.#turn) return;
    this.#messages.push(...found.items);
    this.#next = found.next;
    this.#show();
  }

  #show() {
    const more = el('button', { type: 'button', 'data-focus': 'more' }, this.#messages.length ? 'Show older messages' : 'Search older messages');
    more.addEventListener('click', () => act(more, () => this.#more()));
    replaceChildren(this.#parent, this.#messages.length ? this.#table() : this.#empty(), ...(this.#next ? [el('div', { class: 'buttons' }, more)] : []));
    this.#parent.setAttribute('aria-busy', 'false');
  }

  #table() {
    return el('table', { class: 'messages' },
      el('caption', { class: 'unseen' }, 'Messages, newest first'),
      el('thead', {}, el('tr', {}, ['To', 'Text', 'Status', 'Created'].map((title) => el('th', { scope: 'col' }, title)))),
      el('tbody', {}, this.#messages.map((message) => this.#row(message))));
  }

  #row({ id, to_number: to, body, status, error_message: error, created_at: created }) {
    const open = el('button', { type: 'button', class: 'link', 'data-focus': id, 'aria-label': `Message to ${to ?? 'nobody'}: details` }, to ?? 'No number');
    open.addEventListener('click', () => act(open, () => this.#open(id)));
    return el('tr', { 'data-message': id },
      el('td', { 'data-title': 'To' }, open), el('td', { 'data-title': 'Text', class: 'text' }, body ?? ''),
      el('td', { 'data-title': 'Status' }, badge(status), error && el('span', { class: 'reason' }, error)),
      el('td', { 'data-title': 'Created' }, el('time', { datetime: created, title: atTime(created) }, ago(created))));
  }

  #empty() {
    const { search, status } = this.#filters;
    const [title, text] = search || status
      ? ['Nothing found', this.#next ? 'Not among the newest messages. Older ones may fit.' : 'No message fits the search and the status.']
      : ['No messages yet', 'What your application sends shows up here at once.'];
    return el('div', { class: 'empty' }, el('h3', {}, title), el('p', {}, text));
  }
}
