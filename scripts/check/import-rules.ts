import { posix } from 'node:path';

/**
 * Which part of the repository may import which. Imports run one way, so that each function and the runner's program can be read,
 * bundled and replaced without the others.
 */

/** One import that breaks a rule. */
export type Violation = { file: string; imports: string; rule: string };

/** The parts of `shared/`, and the other parts that each of them may use. */
const SHARED_USES: Record<string, readonly string[]> = {
  runtime: [],
  fleet: ['runtime'],
  aws: ['runtime'],
  ci: ['runtime', 'fleet', 'aws'],
  snapshot: ['runtime', 'fleet', 'aws'],
};

/** Static and dynamic imports and re-exports of files, types included. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;

/** Paths of the files of the repository that a file imports, in the order of its lines. */
export function importsOf(file: string, source: string): string[] {
  return [...source.matchAll(IMPORT)].map(([, specifier = '']) => posix.join(posix.dirname(file), specifier));
}

/**
 * The imports of one file that break a rule.
 *
 * @param file path from the root, with forward slashes
 * @param source its text
 */
export function violations(file: string, source: string): Violation[] {
  return importsOf(file, source).flatMap((imports) => {
    const rule = brokenRule(file, imports);
    return rule === undefined ? [] : [{ file, imports, rule }];
  });
}

/** No bundle contains tests or their doubles, so they may import anything. */
function isTest(file: string): boolean {
  return /^test\/|\/testing\/|\.test\.ts$/.test(file);
}

const RUNNER = 'infra/runner/src/';

function brokenRule(file: string, imports: string): string | undefined {
  if (isTest(file)) return undefined;
  const [top, part = ''] = file.split('/');
  const [target, targetPart = ''] = imports.split('/');
  if (top === 'functions') {
    if (target === 'functions' && targetPart !== part) return 'a function never imports another';
    if (target !== 'functions' && target !== 'shared') return 'functions import only shared';
  }
  if (file.startsWith(RUNNER)) {
    // The version of the program has one place.
    if (imports === 'package.json') return undefined;
    if (target !== 'shared' && !imports.startsWith(RUNNER)) return 'the runner imports only shared';
  }
  if (top === 'scripts') {
    if (imports === 'package.json') return undefined;
    // The local cloud builds a variant of the runner's program with a simulated agent.
    if (file.startsWith('scripts/local/runners/') && imports.startsWith(RUNNER)) return undefined;
    // The simulation plays the decisions of the functions and of the runner on virtual time, not models of them.
    const isDecision = target === 'functions' || imports.startsWith(RUNNER);
    if (file.startsWith('scripts/simulate/') && isDecision) return undefined;
    if (target === 'functions') return 'nothing imports a function';
    if (target !== 'scripts' && target !== 'shared') return 'scripts import only shared';
  }
  if (top === 'shared') {
    if (target !== 'shared') return 'shared imports only shared';
    if (targetPart !== part && !SHARED_USES[part]?.includes(targetPart)) {
      return `shared/${part} may use only ${SHARED_USES[part]?.join(', ') || 'itself'}`;
    }
  }
  return undefined;
}

/**
 * Import cycles, imports of types included. Each is a list of files in which every file imports the next one and the last file
 * imports the first.
 *
 * @param sources text of each file, by path from the root
 */
export function cycles(sources: ReadonlyMap<string, string>): string[][] {
  const found: string[][] = [];
  const finished = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const source = sources.get(file);
    if (source === undefined || finished.has(file)) return;
    const start = path.indexOf(file);
    if (start >= 0) {
      found.push(path.slice(start));
      return;
    }
    path.push(file);
    for (const imported of importsOf(file, source)) visit(imported);
    path.pop();
    finished.add(file);
  };
  for (const file of sources.keys()) visit(file);
  return found;
}
