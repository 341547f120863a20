import { posix } from 'node:path';

/**
 * Which part of the house may import which. Imports run one way, so that a function can be read, bundled and
 * replaced without the others.
 */

/** One import that breaks a rule. */
export type Violation = { file: string; imports: string; rule: string };

/** `shared/` parts in the order in which they may use each other: each only what stands before it. */
const SHARED_USES: Record<string, readonly string[]> = {
  runtime: [],
  fleet: ['runtime'],
  aws: ['runtime'],
  ci: ['runtime', 'fleet', 'aws'],
  snapshot: ['runtime', 'fleet', 'aws'],
};

/** Static and dynamic imports and re-exports of files, types included. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/g;

/**
 * The imports of one file that break a rule.
 *
 * @param file path from the root, with forward slashes
 * @param source its text
 */
export function violations(file: string, source: string): Violation[] {
  const found: Violation[] = [];
  for (const [, specifier = ''] of source.matchAll(IMPORT)) {
    const imports = posix.join(posix.dirname(file), specifier);
    const rule = brokenRule(file, imports);
    if (rule) found.push({ file, imports, rule });
  }
  return found;
}

function brokenRule(file: string, imports: string): string | undefined {
  const [top, part = ''] = file.split('/');
  const [target, targetPart = ''] = imports.split('/');
  // Tests reach for whatever they test with; they are in no bundle.
  if (top === 'test' || /\.test\.ts$/.test(file)) return undefined;
  // For the version, which is said in one place alone.
  if (top === 'scripts' && imports === 'package.json') return undefined;
  if (top === 'functions') {
    if (target === 'functions' && targetPart !== part) return 'a function never imports another';
    if (target !== 'functions' && target !== 'shared') return 'functions import only shared';
  }
  if (top === 'scripts') {
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
