import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_RETRY_AFTER_SECONDS, type Registration } from '../../../../shared/fleet/registration.ts';
import { errorText } from '../../../../shared/runtime/errors.ts';
import { childrenOf, isSameProcess, type ProcessIdentity } from '../processes.ts';
import type { AgentKind, EndedAgent, Launch, RunningAgent } from './agent-kind.ts';
import {
  type AgentRecord,
  type ChainRecord,
  type ChainRecordFile,
  chainRecordFile,
  releaseEndsAt,
} from './chain-record.ts';
import type { AgentContext, AgentDriver, AgentStatus } from './driver.ts';
import type { AgentProgram } from './program-files.ts';
import type { RegistrationClient } from './registration-client.ts';
import type { UnitState } from './units.ts';

/** Wait after an agent that ended without a job, doubling; in milliseconds. */
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 60_000;

/** Longer than every wait that follows from an answer, in milliseconds. */
const LONGEST_PAUSE_MS = 2 * MAX_RETRY_AFTER_SECONDS * 1000;

/**
 * Longest time in which an agent counts as starting, in milliseconds. One that runs for longer and shows nothing is treated as
 * idle: it must not hold a drain for ever.
 */
const STARTING_MS = 120_000;

/** Longest time of the start of a unit, in milliseconds; a unit that does not exist by then never will. */
const UNIT_MS = 30_000;

/** Time between two checks of the process of an agent, in milliseconds. Each reads one file of `/proc`, and delays a turnover by half of it. */
const LOOK_MS = 50;

/** Ends in a row after which the program or the registration must be broken (FACTS of the providers: exit code 1). */
const MOST_FAULTS = 3;

/** How often a registration that arrives too late is released, and the wait in between, in milliseconds. */
const RELEASE_TRIES = 3;
const RELEASE_WAIT_MS = 2_000;

type Processes = { childrenOf: typeof childrenOf; isSameProcess: typeof isSameProcess };

/** No registration: the chain waits. */
class Refused extends Error {
  override readonly name = 'Refused';
}

/**
 * Runs one agent after the other on this instance, and never two at once. Each agent is a unit that outlives aw-runner; the record
 * on the disk and the list of units have what the next aw-runner needs. A failure of the provider only makes the chain wait.
 */
export class AgentChain implements AgentDriver {
  readonly #kind: AgentKind;
  readonly #context: AgentContext;
  readonly #registration: RegistrationClient;
  readonly #program: AgentProgram;
  readonly #user: string;
  readonly #processes: Processes;
  readonly #file: ChainRecordFile;
  readonly #sleep: (milliseconds: number) => Promise<unknown>;
  /** Set once the record is read. */
  #record: ChainRecord | undefined;
  /** The units of an earlier aw-runner are known. */
  #isListed = false;
  #isStopped = false;
  #endsAt: number | undefined;
  #starting: Promise<void> | undefined;
  #checking: Promise<AgentStatus> | undefined;
  #releasing: Promise<void> | undefined;
  #lastReason = '';
  /** When the last job has ended, until the place of the next one is ready. A restart of aw-runner forgets it. */
  #turnoverSince: number | undefined;

  /** @param options.processes replaces the processes of this system, `file` the record on the disk, `sleep` its timers */
  constructor(
    kind: AgentKind,
    context: AgentContext,
    options: {
      registration: RegistrationClient;
      program: AgentProgram;
      user: string;
      processes?: Processes;
      file?: ChainRecordFile;
      sleep?: (milliseconds: number) => Promise<unknown>;
    },
  ) {
    this.#kind = kind;
    this.#context = context;
    this.#registration = options.registration;
    this.#program = options.program;
    this.#user = options.user;
    this.#processes = options.processes ?? { childrenOf, isSameProcess };
    this.#sleep = options.sleep ?? sleep;
    this.#file = options.file ?? chainRecordFile(context.stateDirectory, context.instanceId, context.log);
  }

  async prepare(signal: AbortSignal): Promise<void> {
    const record = await this.#load();
    await this.#context.units.ensureUser(this.#user);
    const program = await this.#program.ensure(this.#updatedTo(record), signal);
    await this.#kind.prepare(program);
  }

  facts() {
    const { inServiceAt, lastJobEnd, waitsUntil, problem, release, agent } = this.#record ?? {};
    const isReleasing =
      release !== undefined &&
      release.tries > 0 &&
      release.removedAt === undefined &&
      this.#context.now() < releaseEndsAt(release);
    const listeningSince = agent?.idleSince;
    return { registers: true, inServiceAt, lastJobEnd, listeningSince, waitsUntil, problem, isReleasing };
  }

  start(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    this.#starting ??= this.#begin().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async stopIntake(endsAt?: number): Promise<void> {
    this.#isStopped = true;
    this.#endsAt = endsAt;
    if (this.#starting) return;
    await this.status();
    const { agent } = await this.#load();
    if (!agent?.process) return;
    const unit = await this.#context.units.state(agent.unit);
    if (unit?.main) await this.#kind.stop(await this.#running(agent, unit), await this.#control(agent));
  }

  status(): Promise<AgentStatus> {
    if (this.#starting) return Promise.resolve({ state: 'starting' });
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** The end of the agent, or the time of the next try. */
  async changed(signal: AbortSignal): Promise<void> {
    const began = this.#context.now();
    while (!signal.aborted) {
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
      const { agent, notBefore } = await this.#load();
      if (this.#starting) continue;
      if (agent?.process && !(await this.#isRunning(agent))) return;
      if (!agent && notBefore > began && this.#context.now() >= notBefore) return;
    }
  }

  async #load(): Promise<ChainRecord> {
    this.#record ??= await this.#file.read();
    return this.#record;
  }

  /** A configuration that names another version takes precedence over an update of the last one. */
  #updatedTo({ updatedTo }: ChainRecord): string | undefined {
    return updatedTo?.configured === this.#program.configured ? updatedTo.version : undefined;
  }

  /** One try to start an agent. @throws on errors of this instance; the provider's only make the chain wait */
  async #begin(): Promise<void> {
    const record = await this.#load();
    const { units, now } = this.#context;
    if (record.agent || record.problem !== undefined) return;
    const wait = record.notBefore - now();
    // A longer one is from a clock that was wrong.
    if (wait > 0 && wait < LONGEST_PAUSE_MS) return;
    if (await this.#adopt(record)) return;
    try {
      const program = await this.#program.ensure(this.#updatedTo(record), AbortSignal.timeout(UNIT_MS));
      record.units += 1;
      const unit = `${this.#kind.provider}-${record.units}`;
      const agent: AgentRecord = {
        unit,
        place: unit,
        version: program.version,
        since: now(),
        listened: false,
        signals: {},
        starts: 1,
      };
      record.agent = agent;
      delete record.release;
      await this.#file.save();
      await this.#prepare(record, agent);
      await this.#kind.start({
        unit: agent.unit,
        program,
        isStopped: () => this.#isStopped,
        register: (own) => this.#register(agent, own),
        launch: (launch) => this.#launch(agent, launch),
        hasEnded: async () => !(await units.state(agent.unit))?.main,
      });
    } catch (error) {
      if (!(error instanceof Refused)) this.#wait(record, errorText(error));
      // A unit that was started is examined by `status`.
      if (record.agent && !record.agent.process) await this.#forget(record);
    }
    await this.#file.save();
  }

  /** Takes over a unit that the record does not name, as after a disk without space; and removes those that have ended. */
  async #adopt(record: ChainRecord): Promise<boolean> {
    const { units, now, log } = this.#context;
    for (const name of await units.list()) {
      const unit = await units.state(name);
      if (!unit?.main) {
        await units.remove(name);
        continue;
      }
      log(`unit ${name} runs an agent: it is taken over`);
      const number = Number(/-(\d+)$/.exec(name)?.[1] ?? 0);
      record.units = Math.max(record.units, number);
      record.previous = 'other';
      record.agent = {
        unit: name,
        place: name,
        version: 'unknown',
        since: now(),
        process: unit.main,
        listened: false,
        signals: {},
        starts: 1,
      };
      await this.#file.save();
      return true;
    }
    return false;
  }

  /** Without a place for the job no registration is requested. */
  async #prepare(record: ChainRecord, { place }: AgentRecord): Promise<void> {
    try {
      await this.#context.units.prepare(place);
      record.unprepared = 0;
      this.#reportTurnover();
    } catch (error) {
      record.unprepared = (record.unprepared ?? 0) + 1;
      if (record.unprepared >= MOST_FAULTS)
        record.problem = `the isolation of jobs cannot be set up: ${errorText(error)}`;
      throw error;
    }
  }

  #reportTurnover(): void {
    if (this.#turnoverSince === undefined) return;
    const seconds = (this.#context.now() - this.#turnoverSince) / 1000;
    this.#context.log(
      `agent: the place of the next job is ready ${seconds.toFixed(2)} s after the end of a job`,
    );
    this.#turnoverSince = undefined;
  }

  /** @throws {Refused} without a registration, or when the intake was stopped meanwhile */
  async #register(agent: AgentRecord, own?: Record<string, unknown>): Promise<Registration> {
    const record = await this.#load();
    const { now } = this.#context;
    const { previous } = record;
    // The answer can be lost, and aw-runner can be killed: the next request then makes the function remove what this one got.
    record.previous = 'other';
    await this.#file.save();
    const result = await this.#registration.call({
      action: 'register',
      previous,
      ...(record.last !== undefined && { last: record.last }),
      ...(own && { agent: own }),
    });
    if (result.outcome === 'registered') {
      const { registration } = result;
      record.inServiceAt = now();
      record.refusals = 0;
      agent.name = registration.name;
      record.last = registration.name;
      await this.#file.save();
      this.#report('');
      if (!this.#isStopped) return registration;
      await this.#release(registration.name);
      throw new Refused('the intake is stopped');
    }
    if (result.outcome === 'refused') {
      // `unavailable` can mean that Auto Scaling did not answer.
      if (result.reason !== 'not-in-service' && result.reason !== 'unavailable') record.inServiceAt = now();
      record.previous = previous;
      record.refusals += 1;
      const isOutage = ['credential', 'settings', 'unavailable'].includes(result.reason);
      const wait = isOutage ? backOff(record.refusals) : 0;
      record.notBefore = now() + jitter(Math.max(wait, result.retryAfterSeconds * 1000));
      if (result.reason === 'budget') record.waitsUntil = record.notBefore;
      throw this.#refusal(`no registration: ${result.reason}`);
    }
    if (result.outcome === 'failed' && !result.isLost) record.previous = previous;
    record.refusals += 1;
    record.notBefore = now() + jitter(backOff(record.refusals));
    throw this.#refusal(result.outcome === 'failed' ? result.reason : `an answer of the wrong kind`);
  }

  #refusal(reason: string): Refused {
    this.#report(reason);
    return new Refused(reason);
  }

  /** Logs a reason once, until another one follows. */
  #report(reason: string): void {
    if (reason !== '' && reason !== this.#lastReason) this.#context.log(`agent: ${reason}`);
    this.#lastReason = reason;
  }

  /** Of a registration that no agent will use. What is left after these tries the function finds when it removes the instance. */
  async #release(name: string): Promise<void> {
    for (let count = 1; count <= RELEASE_TRIES; count += 1) {
      const result = await this.#registration.call({ action: 'release', name });
      if (result.outcome === 'released') return;
      if (count < RELEASE_TRIES) await this.#sleep(RELEASE_WAIT_MS);
    }
    this.#context.log(`agent: the registration ${name} could not be released`);
  }

  async #launch(agent: AgentRecord, { port, ...launch }: Launch): Promise<void> {
    const { units } = this.#context;
    await units.start({ ...launch, name: agent.unit, place: agent.place });
    const main = (await units.state(agent.unit))?.main;
    if (main) agent.process = main;
    if (port !== undefined) agent.port = port;
    agent.signals = {};
    await this.#file.save();
  }

  /** After a failure of this instance, or an agent that ended without a job. */
  #wait(record: ChainRecord, reason: string): void {
    record.failures += 1;
    record.notBefore = this.#context.now() + jitter(backOff(record.failures));
    this.#report(reason);
  }

  async #forget(record: ChainRecord): Promise<void> {
    const { agent } = record;
    if (!agent) return;
    await this.#kind.cleanUp(agent.unit);
    try {
      await this.#context.units.discard(agent.place);
    } catch (error) {
      record.problem = `the isolation of jobs cannot be reset: ${errorText(error)}`;
      this.#context.log(`agent: ${record.problem}`);
    }
    delete record.agent;
    await this.#file.save();
  }

  async #check(): Promise<AgentStatus> {
    const record = await this.#load();
    const { units, now } = this.#context;
    if (!record.agent && !this.#isListed && (await this.#adopt(record))) return { state: 'starting' };
    this.#isListed = true;
    const { agent } = record;
    if (!agent) return { state: 'gone' };
    const unit = await units.state(agent.unit);
    if (!unit) {
      // A call of an earlier aw-runner can still start it.
      if (!agent.process && agent.name !== undefined && now() - agent.since < UNIT_MS)
        return { state: 'starting' };
      return this.#ended(record, agent, null);
    }
    if (unit.main) return this.#observe(record, agent, unit);
    if (!unit.ended) return { state: 'starting' };
    // The agent has ended before its job, as after a kill: the job runs until its process ends.
    if (agent.jobProcess && (await this.#processes.isSameProcess(agent.jobProcess)))
      return { state: 'busy', job: agent.job ?? 'unknown' };
    return this.#ended(record, agent, unit.ended.code);
  }

  async #observe(record: ChainRecord, agent: AgentRecord, unit: UnitState): Promise<AgentStatus> {
    const before = JSON.stringify(agent);
    if (unit.main) agent.process = unit.main;
    const seen = await this.#kind.observe(await this.#running(agent, unit));
    const isLate = this.#context.now() - agent.since > STARTING_MS;
    const status = seen.state === 'starting' && isLate ? ({ state: 'idle' } as const) : seen;
    if (status.state !== 'starting') agent.listened = true;
    if (status.state === 'idle' && agent.idleSince === undefined) {
      agent.idleSince = this.#context.now();
      if (agent.job !== undefined) {
        record.lastJobEnd = agent.idleSince;
        this.#context.log(`agent ${agent.name ?? agent.unit}: its job has ended`);
      }
    }
    if (status.state === 'busy') {
      if (agent.job !== status.job || agent.idleSince !== undefined) {
        // Quoted: whoever wrote the job chose its name.
        this.#context.log(`agent ${agent.name ?? agent.unit} has the job ${JSON.stringify(status.job)}`);
      }
      delete agent.idleSince;
      agent.job = status.job;
      if (status.process) agent.jobProcess = status.process;
    }
    if (agent.listened) record.faults = 0;
    if (JSON.stringify(agent) !== before) await this.#file.save();
    if (seen.state === 'idle' && seen.endBy !== undefined) {
      this.#report('an idle agent is not known to its provider: it is ended');
      await this.#signalOnce(agent, seen.endBy);
    }
    return status.state === 'busy' ? { state: 'busy', job: status.job } : { state: status.state };
  }

  /** Records how an agent has ended, and what follows from it. */
  async #ended(record: ChainRecord, agent: AgentRecord, code: number | null): Promise<AgentStatus> {
    const { units, now, log } = this.#context;
    const ended: EndedAgent = {
      unit: agent.unit,
      code,
      sawJob: agent.job !== undefined,
      version: agent.version,
    };
    const end = await this.#kind.ended(ended);
    await units.remove(agent.unit);
    log(
      `agent ${agent.name ?? agent.unit} ended with ${code ?? 'no exit code'}${end.ranJob ? ' after its job' : ' without a job'}`,
    );
    if (end.ranJob) {
      record.lastJobEnd = agent.job === undefined ? now() : (agent.idleSince ?? now());
      record.failures = 0;
      this.#turnoverSince = record.lastJobEnd;
    }
    if (end.update) {
      const count = (record.updates[agent.version] ?? 0) + 1;
      record.updates[agent.version] = count;
      if (count > 1) record.problem = `the agent updates itself again and again: ${agent.version}`;
    }
    if (end.problem !== undefined) record.problem = end.problem;
    if (end.isFault && !agent.listened && agent.name !== undefined) record.faults += 1;
    if (record.faults >= MOST_FAULTS)
      record.problem = `the agent ended ${MOST_FAULTS} times with ${code} before it took jobs`;
    const again = end.again !== undefined && agent.name !== undefined && record.problem === undefined;
    if (again && !this.#isStopped && agent.starts <= MOST_FAULTS) {
      this.#starting ??= this.#relaunch(record, agent, end.again ?? 0).finally(() => {
        this.#starting = undefined;
      });
      return { state: 'starting' };
    }
    // A registration that is not used up would stay at the provider until its sweep.
    if (again && this.#isStopped && agent.name !== undefined) void this.#release(agent.name);
    record.previous = end.ranJob && end.isUsedUp ? 'job' : 'other';
    // An agent whose registration was refused has its wait already.
    if (!end.ranJob && record.notBefore <= now()) this.#wait(record, '');
    if (record.problem !== undefined) log(`agent: ${record.problem}`);
    await this.#forget(record);
    return { state: 'gone' };
  }

  /** Starts the program again with the registration that it has. */
  async #relaunch(record: ChainRecord, agent: AgentRecord, waitMs: number): Promise<void> {
    try {
      await this.#sleep(waitMs);
      if (this.#isStopped) throw new Refused('the intake is stopped');
      record.units += 1;
      agent.unit = `${this.#kind.provider}-${record.units}`;
      agent.since = this.#context.now();
      agent.starts += 1;
      delete agent.process;
      await this.#file.save();
      const launched = await this.#kind.relaunch(agent.unit, agent.place);
      if (launched.version !== undefined)
        record.updatedTo = { version: launched.version, configured: this.#program.configured };
      agent.version = launched.version ?? agent.version;
      await this.#launch(agent, launched.launch);
    } catch (error) {
      this.#wait(record, errorText(error));
      if (agent.name !== undefined) void this.#release(agent.name);
      record.previous = 'other';
      await this.#forget(record);
    }
  }

  async #running(agent: AgentRecord, unit: UnitState): Promise<RunningAgent> {
    const { now } = this.#context;
    const { main, pids } = unit;
    return {
      unit: agent.unit,
      place: agent.place,
      children: main ? await this.#processes.childrenOf(main.pid, pids) : [],
      main,
      name: agent.name,
      job: agent.job,
      port: agent.port,
      isIdle: agent.idleSince !== undefined,
      idleMs: agent.idleSince === undefined ? 0 : now() - agent.idleSince,
    };
  }

  async #control(agent: AgentRecord) {
    const record = await this.#load();
    const { now } = this.#context;
    record.release ??= { since: now(), notBefore: 0, tries: 0, unsupported: false };
    const { release } = record;
    return {
      /** Milliseconds until EC2 takes the instance away. */
      leftMs: this.#endsAt === undefined ? Number.POSITIVE_INFINITY : this.#endsAt - now(),
      removedMs: release.removedAt === undefined ? undefined : now() - release.removedAt,
      isReleaseOver: now() >= releaseEndsAt(release),
      signalOnce: (signal: NodeJS.Signals) => this.#signalOnce(agent, signal),
      release: () => {
        this.#releasing ??= this.#releaseIdle(record, agent).finally(() => {
          this.#releasing = undefined;
        });
      },
    };
  }

  /** Whether the agent or its job has a process. */
  async #isRunning({ process, jobProcess }: AgentRecord): Promise<boolean> {
    const known = [process, jobProcess].filter((each) => each !== undefined);
    return (
      await Promise.all(known.map((each: ProcessIdentity) => this.#processes.isSameProcess(each)))
    ).includes(true);
  }

  /** One call to release the registration of an idle agent; not awaited by a drain. */
  async #releaseIdle(record: ChainRecord, { name }: AgentRecord): Promise<void> {
    const { release } = record;
    const { now } = this.#context;
    if (!release || name === undefined || now() < release.notBefore) return;
    const result = await this.#registration.call({ action: 'release', name });
    release.tries += 1;
    release.notBefore = now() + jitter(backOff(release.tries));
    if (result.outcome === 'refused') release.notBefore = now() + result.retryAfterSeconds * 1000;
    if (result.outcome === 'released') {
      if (result.result === 'removed') release.removedAt = now();
      else release.answeredAt ??= now();
      if (result.result === 'unsupported') release.unsupported = true;
      if (result.result === 'watch') release.notBefore = now() + (result.afterSeconds ?? 70) * 1000;
      this.#report(`release of ${name}: ${result.result}`);
    } else {
      this.#report(
        `release of ${name}: ${result.outcome === 'refused' || result.outcome === 'failed' ? result.reason : 'no result'}`,
      );
    }
    await this.#file.save();
  }

  /**
   * Sends a signal once in the life of a process: agents cancel their job at the second one. If an earlier aw-runner was killed
   * while it sent the signal, only an idle agent gets it again.
   */
  async #signalOnce(agent: AgentRecord, signal: NodeJS.Signals): Promise<void> {
    const before = agent.signals[signal];
    if (before === 'sent' || (before === 'sending' && agent.idleSince === undefined)) return;
    agent.signals[signal] = 'sending';
    await this.#file.save();
    await this.#context.units.signal(agent.unit, signal);
    agent.signals[signal] = 'sent';
    await this.#file.save();
    this.#context.log(`agent ${agent.name ?? agent.unit}: ${signal}`);
  }
}

function backOff(count: number): number {
  return Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(10, count - 1));
}

/** So that a thousand runners do not ask at the same moment after an outage. */
function jitter(milliseconds: number): number {
  return milliseconds * (1 + Math.random() / 4);
}
