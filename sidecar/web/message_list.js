// The list of messages, newest first, page by page, kept up to date.

import { get } from './api.js';
import { badge } from './badge.js';
import { el, replaceChildren } from './dom.js';
import { act } from './form.js';
import { capitalized } from './format.js';
import { timeAgo } from './time.js';

const PAGE = 50;
const NEWS_MS = 300; // changes within so long are loaded at once
const RETRY_MS = 5000;
const MOST_SINGLE = 10; // as many changed messages are loaded one by one, instead of all that is shown
const MOST_PAGES = 10; // a page of a search looks at 5,000 messages and may find few

export class MessageList {
  #parent;
  #open;
  #filters = {};
  #messages = [];
  #next = null;
  #changed = new Set();
  #timer = null;
  #turn = 0; // what was asked for earlier and comes later is dropped

  // `open(message)` shows one.
  constructor(parent, open) {
    this.#parent = parent;
    this.#open = open;
  }

  filter(filters) {
    this.#filters = filters;
    this.#messages = [];
    return this.load();
  }

  // From the start, as far as the list went before.
  async load() {
    const turn = ++this.#turn;
    const wanted = Math.max(PAGE, this.#messages.length);
    const messages = [];
    let next = null;
    for (let pages = 0; pages === 0 || (next && messages.length < wanted && pages < Math.max(MOST_PAGES, wanted / PAGE)); ++pages) {
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
    this.#loadLater(NEWS_MS);
  }

  #loadLater(pause) {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      const ids = [...this.#changed];
      this.#changed.clear();
      this.#loadChanged(ids).catch(() => {
        for (const id of ids) this.#changed.add(id);
        this.#loadLater(RETRY_MS);
      });
    }, pause);
  }

  // A few shown ones by themselves when the list is long, else all.
  async #loadChanged(ids) {
    const shown = ids.every((id) => this.#messages.some((each) => each.id === id));
    if (!shown || ids.length > MOST_SINGLE || this.#messages.length <= PAGE) return this.load();
    const turn = this.#turn;
    const fresh = await Promise.all(ids.map((id) => get(`organization/messages/${id}`)));
    if (turn !== this.#turn) return undefined;
    this.#messages = this.#messages.map((each) => fresh.find(({ id }) => id === each.id) ?? each);
    return this.#show();
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

  #row(message) {
    const { id, to_number: to, body, status, created_at: created } = message;
    const reason = message.error_message ?? message.waiting_reason;
    const open = el('button', { type: 'button', class: 'link', 'data-focus': id, 'aria-label': `Message to ${to ?? 'nobody'}: details` }, to ?? 'No number');
    open.addEventListener('click', () => act(open, () => this.#open(message)));
    return el('tr', { 'data-message': id }, el('td', {}, open), el('td', { class: 'text' }, el('div', { class: 'beginning' }, body)),
      el('td', {}, badge(status), reason && el('span', { class: 'reason' }, capitalized(reason))), el('td', {}, timeAgo(created)));
  }

  #empty() {
    const { search, status } = this.#filters;
    const [title, text] = search || status
      ? ['Nothing found', this.#next ? 'Not among the newest messages. Older ones may fit.' : 'No message fits the search and the status.']
      : ['No messages yet', 'What your application sends shows up here at once.'];
    return el('div', { class: 'empty' }, el('h3', {}, title), el('p', {}, text));
  }
}
