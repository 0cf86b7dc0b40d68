// CPU time from /proc, in seconds, as far as the kernel has accounted for it (to 10 ms).

import { readFileSync } from 'node:fs';

const TICKS_PER_SECOND = 100; // USER_HZ, the same on every Linux

// Of a process, all its threads, and its ended children that it waited for.
function seconds(pid) {
  let stat;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return 0; // it has ended: its parent has its time
  }
  const times = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 15); // user, system, and those of children
  return times.reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

// Of several processes and their living children.
export function cpu(...pids) {
  const children = (pid) => readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  return pids.flatMap((pid) => [pid, ...children(pid)]).reduce((sum, pid) => sum + seconds(pid), 0);
}
