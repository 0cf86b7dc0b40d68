// The dialog for a message of the list.

import { openDialog } from './dialog.js';
import { el } from './dom.js';
import { atTime, count } from './format.js';
import { followMessage } from './message_view.js';
import { timeline } from './timeline.js';

export async function openDetail({ id, to_number: to }) {
  const body = el('div', { class: 'stack', 'data-detail': id });
  const dialog = openDialog(`Message to ${to ?? 'nobody'}`, body);
  try {
    await followMessage(id, dialog, body, (message) => [facts(message), el('h3', {}, 'Timeline'), timeline(message)]);
  } catch (error) {
    dialog.close();
    throw error;
  }
}

function facts({ to_number: to, from_number: from, body, segments, error_code: code, provider_sid: sid, expires_at: expires }) {
  const shown = [['To', to], ['From', from], ['Text', body], ['Parts', segments && count(segments, 'segment')], ['Code', code], ['Provider’s id', sid],
    ['Expires', expires && atTime(expires)]];
  return el('dl', { class: 'facts' }, shown.filter(([, value]) => value).map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));
}
