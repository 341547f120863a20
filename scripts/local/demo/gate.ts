import { once } from 'node:events';
import { createServer } from 'node:net';
import { lowPort } from '../free-port.ts';

/** Where jobs wait until a test or a step opens it: a job of a fixed length can end while the computer is slow. */
export type Gate = {
  /** A command that ends once the gate is open. It needs bash, as agents have it. */
  wait: string;
  /** All jobs continue, those that come later too. */
  open(): Promise<void>;
};

/** A gate for jobs on this computer. A port, since a job in a root of its own sees no file that is made after its start. */
export async function makeGate(): Promise<Gate> {
  const port = await lowPort();
  return {
    // In the background, so that the trap of a job runs at once.
    wait: `until (exec 3<>/dev/tcp/127.0.0.1/${port}) 2>/dev/null; do sleep 0.2 & wait $!; done`,
    async open() {
      const server = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1');
      await once(server, 'listening');
      server.unref();
    },
  };
}
