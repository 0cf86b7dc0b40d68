// The pages, with somebody in Google's place at another site than ours.

import { CLIENT, googleEnv } from '../../e2e/support/google_login.mjs';
import { Pages } from './pages.mjs';

export class GooglePages extends Pages {
  // `where()`: the address of who stands in for Google, asked once the simulator runs; default: the simulator.
  constructor(name, where = (stack) => stack.simulator.url.replace('127.0.0.1', 'localhost')) {
    super(name);
    this.where = where;
  }

  startByocd(env) {
    // For browsers another host is another site, and another port is not.
    return super.startByocd({ ...googleEnv({ url: this.where(this) }, this.origin), ...env });
  }

  async newOrganization(name) {
    return { id: await this.db.value('SELECT byoc.create_organization($1)', [name]) };
  }
}

export const connectLink = (page) => page.getByRole('link', { name: 'Connect Google Calendar', exact: true });
export { CLIENT };
