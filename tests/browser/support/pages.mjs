// Everything that the pages need, at an address that stays the same when byocd is started again, and where the simulator reports
// deliveries to.

import { freePort } from '../../../scripts/run.mjs';
import { Stack } from '../../e2e/stack.mjs';
import { API_ENV, Api } from '../../e2e/support/api.mjs';

export class Pages extends Stack {
  async start() {
    const listen = `127.0.0.1:${await freePort()}`;
    this.origin = `http://${listen}`;
    this.env = { ...API_ENV, BYOC_HTTP_LISTEN: listen, BYOC_PUBLIC_URL: this.origin, ...this.env };
    await super.start();
    this.api = await new Api(this).open();
  }

  // A page's address with a token to sign in with. `page`: settings or messages.
  address(page, organization, claims) {
    return `${this.origin}/dashboard/${page}#token=${this.api.token(organization, claims)}`;
  }
}
