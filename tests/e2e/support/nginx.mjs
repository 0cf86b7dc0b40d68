// A real nginx with TLS in front of byocd, with the configuration that the documentation shows.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { freePort, until } from '../../../scripts/run.mjs';
import { tool } from '../stack.mjs';
import { exchange } from './api.mjs';

export const NGINX = tool('nginx');
const TEMPORARY = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

export class Nginx {
  // `server`: a `server` block for Let's Encrypt's files and byocd at 127.0.0.1:8080, as documented. `hosts`: whom the certificate is for.
  static async start(run, server, { byocd, hosts }) {
    const nginx = new Nginx();
    nginx.folder = `${run.folder}/nginx`;
    mkdirSync(nginx.folder, { recursive: true });
    nginx.#certify(hosts);
    const port = await freePort();
    const file = `${nginx.folder}/nginx.conf`;
    writeFileSync(file, `daemon off;
master_process off;
error_log stderr;
pid ${nginx.folder}/pid;
events {}
http {
    access_log off;
    ${TEMPORARY.map((name) => `${name}_temp_path ${nginx.folder}/${name};`).join(' ')}
${server.replace('listen 443', `listen 127.0.0.1:${port}`).replaceAll(/\/etc\/letsencrypt\/live\/[^/]+/g, nginx.folder).replaceAll('127.0.0.1:8080', new URL(byocd).host)}
}
`);
    nginx.log = `${nginx.folder}/log`;
    nginx.program = run.start(NGINX, ['-p', nginx.folder, '-e', 'stderr', '-c', file], { log: nginx.log });
    nginx.url = `https://127.0.0.1:${port}`;
    nginx.agent = new https.Agent({ ca: nginx.ca, servername: hosts[0] });
    await until('nginx', () => {
      if (nginx.program.ended) throw new Error(`nginx ended: ${readFileSync(nginx.log, 'utf8')}`);
      return exchange(nginx.url, 'GET', '/', { agent: nginx.agent, headers: { host: hosts[0] } }).catch(() => null);
    });
    return nginx;
  }

  async stop() {
    this.agent.destroy();
    await this.program.stop('SIGKILL');
  }

  // A certificate of an authority that was made for it.
  #certify(hosts) {
    const file = (name) => `${this.folder}/${name}`;
    const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
    openssl('req', '-x509', ...key, '-keyout', file('ca.key'), '-out', file('ca.pem'), '-days', '2', '-subj', '/CN=An authority of this test');
    openssl('req', ...key, '-keyout', file('privkey.pem'), '-out', file('request.pem'), '-subj', `/CN=${hosts[0]}`);
    writeFileSync(file('names'), `subjectAltName = ${hosts.map((host) => `DNS:${host}`).join(', ')}\n`);
    openssl('x509', '-req', '-in', file('request.pem'), '-CA', file('ca.pem'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2',
      '-extfile', file('names'), '-out', file('fullchain.pem'));
    this.ca = readFileSync(file('ca.pem'));
  }
}
