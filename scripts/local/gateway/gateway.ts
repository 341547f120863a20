import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EmulatedService, InjectedFault, ServiceRequest, ServiceResponse } from '../service.ts';
import type { Call } from './call.ts';
import type { CallRecording } from './call-recording.ts';
import { type Callers, createCallers, senderId } from './callers.ts';
import { type CloudApi, createCloudApi } from './cloud-api.ts';
import { errorAnswer } from './error-answer.ts';
import { createFaults, type Faults } from './faults.ts';
import { createFeed, type Feed } from './feed.ts';
import { createForwarder, type Forwarder, readAll } from './forwarder.ts';
import { createFunctionsLog, type FunctionsLog } from './functions-log.ts';
import { type Incoming, readIncoming } from './incoming.ts';
import { safeParameters } from './parameters.ts';
import { createSenders } from './senders.ts';

/** Receives every answered call of its operations, with both bodies. */
export type Observer = {
  service: string;
  operations: readonly string[];
  observe(request: ServiceRequest, answer: { status: number; body: string }): void;
};

export type Gateway = {
  /** `http://127.0.0.1:<port>`: the `AWS_ENDPOINT_URL` of everything that runs in the cloud. */
  url: string;
  calls: Feed<Call>;
  faults: Faults;
  callers: Callers;
  functions: FunctionsLog;
  /** Routes the calls of a service to it instead of the emulator. */
  mount(service: EmulatedService): void;
  observe(observer: Observer): void;
  close(): Promise<void>;
};

const SENDING = ['SendMessage', 'SendMessageBatch'];

/**
 * The endpoint of the local cloud. It identifies and records each call, applies faults, and passes the call to an emulated service
 * or to MiniStack.
 *
 * @param emulator `http://127.0.0.1:<port>` of MiniStack
 * @param recording gets every call that is answered
 */
export async function startGateway(emulator: string, recording?: CallRecording): Promise<Gateway> {
  const callers = createCallers();
  const senders = createSenders();
  const functions = createFunctionsLog();
  const calls = createFeed<Call>();
  const faults = createFaults();
  const services: EmulatedService[] = [];
  const observers: Observer[] = [];
  const forwarder = createForwarder(emulator);
  const api = createCloudApi({ callers, senders, log: functions, calls });

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const incoming = await readIncoming(req);
    if (incoming.path.startsWith('/_cloud/')) return serveApi(api, incoming, res);
    const at = new Date();
    const started = performance.now();
    const signer = callers.of(incoming.accessKeyId);
    const caller = signer.name;
    const record = (status: number, fault?: string) => {
      recording?.add(incoming, signer);
      calls.add({
        at,
        service: incoming.service,
        operation: incoming.operation,
        region: incoming.region,
        caller,
        accessKeyId: incoming.accessKeyId,
        status,
        ...(fault !== undefined && { fault }),
        ms: Math.round(performance.now() - started),
        parameters: safeParameters(incoming),
      });
    };

    const effect = faults.effectOn({ ...incoming, caller });
    if (effect?.kind === 'delay') await sleep(effect.ms);
    if (effect?.kind === 'disconnect') {
      record(0, 'disconnect');
      req.socket.destroy();
      return;
    }
    if (effect?.kind === 'error') {
      record(effect.error.status, effect.error.code);
      refuse(req, res, incoming, effect.error);
      return;
    }
    if (effect?.kind === 'lose-answer') {
      // Not connected to the socket: what is written to it goes nowhere.
      record((await answer(req, new ServerResponse(req), incoming, { whole: true })) ?? 0, 'lose-answer');
      req.socket.destroy();
      return;
    }
    record((await answer(req, res, incoming)) ?? 0);
  }

  /**
   * @param options.whole whether the answer is read completely before it is passed on
   * @returns the answer's status
   */
  async function answer(
    req: IncomingMessage,
    res: ServerResponse,
    incoming: Incoming,
    { whole } = { whole: false },
  ) {
    const service = services.find((one) => one.name === incoming.service && one.serves(incoming.operation));
    if (service) {
      const response = await service.handle(incoming);
      reply(res, response);
      notify(incoming, response.status, response.body.toString());
      return response.status;
    }
    const sending = incoming.service === 'sqs' && SENDING.includes(incoming.operation);
    const keep = whole || sending || observersOf(incoming).length > 0;
    const forwarded = forwarder.forward(req, res, incoming.streamed ? req : incoming.body, { keep });
    const body = forwarded.then(
      (done) => done.body?.toString('utf8'),
      () => undefined,
    );
    if (sending) senders.watch(senderId(callers.of(incoming.accessKeyId)), body);
    try {
      const { status } = await forwarded;
      if (keep) notify(incoming, status, (await body) ?? '');
      return status;
    } catch (error) {
      // A client that has disconnected needs no answer. An emulator that does not answer is a fault of the service.
      if (res.headersSent || res.destroyed) return res.statusCode;
      refuse(req, res, incoming, unavailable(error));
      return 503;
    }
  }

  function observersOf({ service, operation }: Incoming) {
    return observers.filter((one) => one.service === service && one.operations.includes(operation));
  }

  function notify(incoming: Incoming, status: number, body: string) {
    for (const observer of observersOf(incoming)) observer.observe(incoming, { status, body });
  }

  const server = createServer((req, res) => {
    serve(req, res).catch((error: unknown) => {
      console.error(`gateway: ${req.method} ${req.url}: ${String(error)}`);
      if (res.headersSent) res.destroy();
      else res.writeHead(500).end(String(error));
    });
  });
  // Longer than any client keeps an idle connection, so that no connection closes during a call. Uploads have no limit.
  server.keepAliveTimeout = 120_000;
  server.requestTimeout = 0;
  const url = await listen(server);
  return {
    url,
    calls,
    faults,
    callers,
    functions,
    mount: (service) => services.push(service),
    observe: (observer) => observers.push(observer),
    close: () => shut(server, forwarder),
  };
}

async function serveApi(api: CloudApi, { path, body }: Incoming, res: ServerResponse): Promise<void> {
  const result = await api.handle(path.slice('/_cloud/'.length), JSON.parse(body.toString('utf8')));
  reply(res, {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(result),
  });
}

function refuse(req: IncomingMessage, res: ServerResponse, incoming: Incoming, fault: InjectedFault): void {
  const response = errorAnswer(incoming, fault);
  if (!incoming.streamed) {
    reply(res, response);
    return;
  }
  // The rest of an upload is discarded first: a client that still sends does not read the answer.
  readAll(req).then(
    () => reply(res, response),
    () => res.destroy(),
  );
}

function reply(res: ServerResponse, { status, headers, body }: ServiceResponse): void {
  res.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(body) }).end(body);
}

function unavailable(error: unknown): InjectedFault {
  return {
    status: 503,
    code: 'ServiceUnavailable',
    message: `the emulator did not answer: ${String(error)}`,
  };
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the gateway has no port');
  return `http://127.0.0.1:${address.port}`;
}

async function shut(server: Server, forwarder: Forwarder): Promise<void> {
  forwarder.close();
  server.close();
  server.closeAllConnections();
  if (server.listening) await once(server, 'close');
}
