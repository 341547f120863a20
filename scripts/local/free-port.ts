import { once } from 'node:events';
import { createServer } from 'node:net';

/** Ports that the kernel gives to no client (ip_local_port_range begins with 32,768), and how many are tried. */
const LOW = { first: 20_000, count: 10_000 };
const TRIES = 20;

/** A port for a server that starts later: no client gets it meanwhile. */
export async function lowPort(): Promise<number> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await freePort(LOW.first + Math.floor(Math.random() * LOW.count));
    } catch (error) {
      if (tries === TRIES) throw error;
    }
  }
}

/**
 * A port of the loopback interface that nobody listens on at this moment.
 *
 * @param wanted 0: any
 * @throws if that one is not free
 */
export async function freePort(wanted = 0): Promise<number> {
  const server = createServer().listen(wanted, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('the loopback interface has no port');
  return address.port;
}
