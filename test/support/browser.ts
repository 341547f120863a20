import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** One page of a headless Chromium, through the DevTools protocol. */
export type BrowserPage = {
  /** Loads a file, without a network. */
  open(file: string): Promise<void>;
  /** Value of an expression in the page; promises are awaited. */
  evaluate<T>(expression: string): Promise<T>;
  /** Evaluates until the value is true. @throws after minutes, with the last value */
  until(expression: string): Promise<void>;
  /** Presses a key as a user does, for example `ArrowDown` or `/`. */
  press(key: string): Promise<void>;
  type(text: string): Promise<void>;
  mouse(kind: 'mouseMoved' | 'mousePressed' | 'mouseReleased', x: number, y: number): Promise<void>;
  resize(width: number, height: number, scale?: number): Promise<void>;
  prefer(theme: 'light' | 'dark'): Promise<void>;
  /** A PNG of what is visible. */
  screenshot(): Promise<Buffer>;
  /** Errors and warnings of the console, exceptions, and requests that the page made for anything but itself. */
  readonly problems: string[];
  close(): Promise<void>;
};

type Answer = {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: unknown;
};

/** Longest wait of `until`, in milliseconds. */
const PATIENCE_MS = 300_000;

/** Starts Chromium (Debian's package) with an empty profile. */
export async function openBrowser(): Promise<BrowserPage> {
  const profile = await mkdtemp(join(tmpdir(), 'hearth-browser-'));
  const child = spawn(
    'chromium',
    [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--hide-scrollbars',
      '--no-first-run',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      'about:blank',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'], detached: true },
  );
  const ended = once(child, 'exit');
  const problems: string[] = [];
  let page = '';

  const endpoint = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', (line) => {
      const found = /DevTools listening on (ws:\S+)/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    ended.then(([code]) => reject(new Error(`chromium ended with ${code} before it listened`)), reject);
  });
  const targets = await fetch(`http://${new URL(endpoint).host}/json/list`);
  const [target] = (await targets.json()) as { type: string; webSocketDebuggerUrl: string }[];
  const socket = new WebSocket(target?.webSocketDebuggerUrl ?? '');
  await once(socket, 'open');
  const waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  const events = new Map<string, () => void>();
  let last = 0;

  socket.addEventListener('message', ({ data }) => {
    const { id, method, params, result, error } = JSON.parse(String(data)) as Answer;
    if (id !== undefined) {
      const call = waiting.get(id);
      waiting.delete(id);
      if (error !== undefined) call?.reject(new Error(JSON.stringify(error)));
      else call?.resolve(result);
    } else if (method !== undefined) {
      note(method, params ?? {});
      events.get(method)?.();
    }
  });

  function note(method: string, params: Record<string, unknown>): void {
    if (method === 'Runtime.exceptionThrown')
      problems.push(`exception: ${JSON.stringify(params.exceptionDetails)}`);
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(String(params.type)))
      problems.push(`console: ${JSON.stringify(params.args)}`);
    if (method === 'Log.entryAdded') problems.push(`log: ${JSON.stringify(params.entry)}`);
    if (method === 'Network.requestWillBeSent') {
      const { url } = params.request as { url: string };
      if (url !== page && !url.startsWith('blob:')) problems.push(`request: ${url}`);
    }
  }

  function send<T>(method: string, params: object = {}): Promise<T> {
    last += 1;
    const id = last;
    socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) =>
      waiting.set(id, { resolve: resolve as (result: unknown) => void, reject }),
    );
  }

  async function evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await send<{ result: { value: T }; exceptionDetails?: unknown }>(
      'Runtime.evaluate',
      { expression, awaitPromise: true, returnByValue: true },
    );
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${JSON.stringify(exceptionDetails)}`);
    return result.value;
  }

  for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);
  // The page must work without a network.
  await send('Network.emulateNetworkConditions', {
    offline: true,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: -1,
  });

  return {
    problems,
    evaluate,
    async open(file) {
      page = `file://${file}`;
      const loaded = new Promise<void>((resolve) => events.set('Page.loadEventFired', resolve));
      await send('Page.navigate', { url: page });
      await loaded;
    },
    async until(expression) {
      let limit = Date.now() + PATIENCE_MS;
      for (;;) {
        const value = await evaluate<unknown>(expression);
        if (value === true) return;
        // A page with an exception seldom continues.
        if (problems.some((one) => one.startsWith('exception'))) limit = Math.min(limit, Date.now() + 20_000);
        if (Date.now() > limit)
          throw new Error(`${expression} stays ${JSON.stringify(value)}; ${problems.join('; ')}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    async press(key) {
      const text = key.length === 1 ? { text: key } : key === 'Enter' ? { text: '\r' } : {};
      await send('Input.dispatchKeyEvent', { type: 'keyDown', key, ...text });
      await send('Input.dispatchKeyEvent', { type: 'keyUp', key });
    },
    async type(text) {
      await send('Input.insertText', { text });
    },
    async mouse(type, x, y) {
      const button = type === 'mouseMoved' ? 'none' : 'left';
      await send('Input.dispatchMouseEvent', {
        type,
        x,
        y,
        button,
        clickCount: type === 'mouseMoved' ? 0 : 1,
      });
    },
    async resize(width, height, scale = 1) {
      await send('Emulation.setDeviceMetricsOverride', {
        width,
        height,
        deviceScaleFactor: scale,
        mobile: false,
      });
    },
    async prefer(theme) {
      await send('Emulation.setEmulatedMedia', {
        features: [{ name: 'prefers-color-scheme', value: theme }],
      });
    },
    async screenshot() {
      const { data } = await send<{ data: string }>('Page.captureScreenshot', { format: 'png' });
      return Buffer.from(data, 'base64');
    },
    async close() {
      socket.close();
      // Chromium starts processes of its own, all in its group.
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
      await ended;
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}
