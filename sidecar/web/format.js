// Times, numbers and names as people read them.

const moment = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const hour = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto' });
const STEPS = [['second', 60], ['minute', 60], ['hour', 24], ['day', 30], ['month', 12], ['year', Infinity]];

export const atTime = (iso) => moment.format(new Date(iso));
export const atHour = (iso) => hour.format(new Date(iso));

// "5 minutes ago".
export function ago(iso) {
  let amount = (Date.parse(iso) - Date.now()) / 1000;
  const [unit] = STEPS.find(([, size]) => {
    if (Math.abs(Math.round(amount)) < size) return true;
    amount /= size;
    return false;
  });
  return relative.format(Math.round(amount), unit);
}

export const capitalized = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// "made_default" as "Made default", "api_key_sid" as "API key SID".
export const words = (name) => capitalized(name.replaceAll('_', ' ').replace(/\b(api|id|sid|url)\b/g, (word) => word.toUpperCase()));

export const count = (number, one) => `${number.toLocaleString()} ${one}${number === 1 ? '' : 's'}`;
