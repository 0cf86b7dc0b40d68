// What the demo prints. Colours only where there is a terminal.

const colours = process.stdout.isTTY && !process.env.NO_COLOR;
const styled = (code) => (text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);

export const bold = styled(1);
export const dim = styled(2);
const green = styled(32);

export function say(...parts) {
  process.stdout.write(`${parts.join('  ')}\n`);
}

// An SMS as the provider received it: who sent it, how long after the commit, and its text.
export function sayMessage({ account_sid: account, from, to, body }, latency) {
  say(`    ${green('SMS')} to ${to} ${green(`${latency.toFixed(1)} ms`)} after the commit`);
  say(`    ${dim(`from ${from}, account ${account}`)}`);
  for (const line of body.split('\n')) say(`      │ ${line}`);
}
