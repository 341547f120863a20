import { Agent, request } from 'node:http';

/** Delay of printed lines, so that several are sent together, in milliseconds. */
const GATHER_MS = 50;

/** The connection of a worker to the gateway. */
export type GatewayLine = {
  /** Copies everything that is printed to the gateway, line by line. */
  captureOutput(): void;
  /** @returns the sender of each message, in the format of SQS */
  batchStarted(messageIds: readonly string[]): Promise<{ senders: Record<string, string> }>;
  /** Sends the rest of the printed lines, and the end of the batch. */
  batchEnded(error: string | undefined): Promise<void>;
};

/** @param worker the worker that sends */
export function createGatewayLine(
  url: string,
  worker: { function: string; accessKeyId: string },
): GatewayLine {
  const agent = new Agent({ keepAlive: true });
  let lines: string[] = [];
  let rest = '';
  let timer: NodeJS.Timeout | undefined;

  function take(text: string): void {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts.filter((line) => line !== ''));
    // Lines that cannot be sent now are sent at the end of the batch, which throws if that fails too.
    timer ??= setTimeout(() => flush().catch(() => {}), GATHER_MS).unref();
  }

  async function flush(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const sending = lines;
    lines = [];
    if (sending.length === 0) return;
    try {
      await post('lines', { lines: sending });
    } catch (error) {
      lines.unshift(...sending);
      throw error;
    }
  }

  function post(name: string, body: object): Promise<string> {
    const text = JSON.stringify({ ...worker, ...body });
    return new Promise((resolve, reject) => {
      const call = request(`${url}/_cloud/${name}`, { method: 'POST', agent }, (answer) => {
        let reply = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          reply += chunk;
        });
        answer.once('error', reject);
        answer.once('end', () => {
          if (answer.statusCode === 200) resolve(reply);
          else reject(new Error(`the gateway answered ${answer.statusCode} to ${name}: ${reply}`));
        });
      });
      call.once('error', reject);
      call.end(text);
    });
  }

  return {
    captureOutput() {
      for (const stream of [process.stdout, process.stderr]) {
        const write = stream.write.bind(stream);
        stream.write = (chunk: string | Uint8Array, ...more: unknown[]) => {
          take(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8'));
          return Reflect.apply(write, stream, [chunk, ...more]);
        };
      }
    },
    async batchStarted(messageIds) {
      return JSON.parse(await post('batch-started', { messageIds }));
    },
    async batchEnded(error) {
      await flush();
      await post('batch-ended', { ...(error !== undefined && { error }) });
    },
  };
}
