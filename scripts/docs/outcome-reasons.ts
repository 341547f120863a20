import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** One reason of an outcome. `function` is the name of a function, or `shared` for code of several functions. */
export type OutcomeReason = { function: string; outcome: string; reason: string };

/** A call whose reason is not a literal, as `<folder>: <callee>(<first argument>)`. */
export type VariableReason = { call: string; function: string; outcome: string };

/** Outcome of each call that creates an outcome, or an error that the record loop maps to one. */
const OUTCOMES: Record<string, string> = {
  skipped: 'skipped',
  retryLater: 'retry',
  dead: 'dead',
  PermanentError: 'dead',
  RetryableError: 'retry',
  parseOrReject: 'dead',
};

/** These files define the calls; they contain no reason of their own. */
const DEFINITIONS = ['shared/runtime/outcome.ts', 'shared/runtime/errors.ts', 'shared/runtime/validate.ts'];

const CALL = /\b(skipped|retryLater|dead|parseOrReject|new (?:PermanentError|RetryableError)|super)\(/g;

/**
 * Reads every reason from the code of the functions.
 *
 * @param root the repository
 */
export function reasonsInCode(root: string): { reasons: OutcomeReason[]; variables: VariableReason[] } {
  const reasons: OutcomeReason[] = [];
  const variables: VariableReason[] = [];
  for (const file of sources(root)) {
    const source = readFileSync(join(root, file), 'utf8');
    const [top = '', folder = ''] = file.split('/');
    const owner = top === 'functions' ? folder : 'shared';
    for (const { callee, argument } of calls(source)) {
      const outcome = OUTCOMES[callee];
      if (outcome === undefined) continue;
      const literals = [...argument.matchAll(/'([a-z0-9-]+)'/g)].map(([, reason = '']) => reason);
      for (const reason of literals) reasons.push({ function: owner, outcome, reason });
      if (literals.length === 0)
        variables.push({ call: `${owner}: ${callee}(${argument})`, function: owner, outcome });
    }
  }
  return { reasons, variables };
}

function sources(root: string): string[] {
  return ['functions', 'shared'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
      .filter((file) => /\.ts$/.test(file) && !/\.test\.ts$|\/testing\//.test(file))
      .filter((file) => !DEFINITIONS.includes(file)),
  );
}

/** Calls with the argument that holds the reason: the first one, of `parseOrReject` the third one. */
function calls(source: string): { callee: string; argument: string }[] {
  return [...source.matchAll(CALL)].map((match) => {
    const name = (match[1] ?? '').replace('new ', '');
    const all = argumentsAt(source, match.index + match[0].length);
    const callee = name === 'super' ? baseClass(source, match.index) : name;
    return { callee, argument: (name === 'parseOrReject' ? all[2] : all[0]) ?? '' };
  });
}

/** The class that the class around a position extends. */
function baseClass(source: string, position: number): string {
  const classes = [...source.slice(0, position).matchAll(/\bclass \w+ extends (\w+)/g)];
  return classes.at(-1)?.[1] ?? '';
}

/** Arguments of a call, split at commas outside of brackets and strings. */
function argumentsAt(source: string, start: number): string[] {
  const found = [''];
  let depth = 0;
  let quote = '';
  for (const character of source.slice(start)) {
    if (quote === '' && depth === 0 && character === ')') break;
    if (quote === '' && depth === 0 && character === ',') {
      found.push('');
      continue;
    }
    if (quote !== '') quote = character === quote ? '' : quote;
    else if (`'"\``.includes(character)) quote = character;
    else if ('([{'.includes(character)) depth += 1;
    else if (')]}'.includes(character)) depth -= 1;
    found[found.length - 1] += character;
  }
  return found.map((argument) => argument.replaceAll(/\s+/g, ' ').trim());
}

/**
 * Reads the table of `docs/outcomes.md`.
 *
 * @param page text of the page
 */
export function reasonsInTable(page: string): OutcomeReason[] {
  const rows = page.matchAll(/^\| `?(\w+)`? \| (skipped|retry|dead) \| `([a-z0-9-]+)` \|/gm);
  return [...rows].map(([, owner = '', outcome = '', reason = '']) => ({ function: owner, outcome, reason }));
}
