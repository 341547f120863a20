import { Agent, request } from 'node:http';

/** How long printed lines wait for company before they are sent, in milliseconds. */
const GATHER_MS = 50;

/** What a worker tells the gateway, and asks it. */
export type GatewayLine = {
  /** Copies everything that is printed to the gateway, line by line. */
  captureOutput(): void;
  /** @returns who sent each message, as SQS would say it */
  batchStarted(messageIds: readonly string[]): Promise<{ senders: Record<string, string> }>;
  /** Sends what has been printed, and says that the batch is over. */
  batchEnded(error: string | undefined): Promise<void>;
};

/** @param worker who speaks */
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
    // Lines that cannot be sent now are sent at the end of the batch, which does say so if it cannot either.
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
        let said = '';
        answer.setEncoding('utf8');
        answer.on('data', (chunk: string) => {
          said += chunk;
        });
        answer.once('error', reject);
        answer.once('end', () => {
          if (answer.statusCode === 200) resolve(said);
          else reject(new Error(`the gateway answered ${answer.statusCode} to ${name}: ${said}`));
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
