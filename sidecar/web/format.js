// Times and words as people read them.

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
const STEPS = [['second', 60], ['minute', 60], ['hour', 24], ['day', 30], ['month', 12], ['year', Infinity]];

export const atTime = (iso) => moment.format(new Date(iso));
export const atHour = (iso) => hour.format(new Date(iso));

// "5 minutes ago".
export function ago(iso) {
  let amount = (Date.parse(iso) - Date.now()) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(Math.round(amount)) < size) return relative.format(Math.round(amount), unit);
    amount /= size;
  }
  return atTime(iso);
}

// "made_default" as "Made default", "credential.added" as "Added", "api_key_sid" as "API key SID".
export function words(name) {
  const text = name.replace(/^credential\./, '').replaceAll('_', ' ').replace(/\b(api|id|sid)\b/g, (word) => word.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;
