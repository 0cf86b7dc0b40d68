// Random numbers that a seed repeats (mulberry32).

export class Random {
  #state;

  constructor(seed) { this.#state = seed >>> 0; }

  // From 0 up to, not including, 1.
  fraction() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  }

  // A whole number, both ends included.
  whole(least, most) { return least + Math.floor(this.fraction() * (most - least + 1)); }

  pick(list) { return list[this.whole(0, list.length - 1)]; }

  shuffle(list) {
    for (let i = list.length - 1; i > 0; --i) {
      const j = this.whole(0, i);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return list;
  }
}
