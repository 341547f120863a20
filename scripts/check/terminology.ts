/**
 * Words that the project does not use, each with the term of the field in its place. `docs/architecture.md` has the list of
 * terms, and a test fails with one line per use.
 */
export type Term = { pattern: RegExp; use: string };

export const TERMS: readonly Term[] = [
  { pattern: /\bendings?\b(?! (in|with) )|endingOf/i, use: 'outcome' },
  { pattern: /\b(bury|buries|buried)\b/i, use: 'send to the dead-letter queue' },
  {
    pattern: /\blet(s|ting)? (\w+ ){0,3}go\b|\bletting go\b|letIdleGo/i,
    use: 'terminate, replace or release',
  },
  { pattern: /parseOrDie/, use: 'parseOrReject' },
  { pattern: /\bstandingOf\b|whereItStands|awaitsHook\b/, use: 'lifecycle state' },
  { pattern: /\blooker\b|\bhasSeen\b|lookAt\b/i, use: 'singleFlight, reconcile or get' },
  { pattern: /\bfakeHouse\b|\bhouse\b/i, use: 'a noun of the field' },
  { pattern: /\bjanitor\b/i, use: 'cleanup' },
  { pattern: /\bfurnish/i, use: 'compose' },
  { pattern: /\bnarrator\b|\bchapters?\b/i, use: 'console, step' },
  { pattern: /\b(startHeart|LastSaid|sayOwed|isOwed|owed)\b/, use: 'heartbeat, lastReportedAt, pending' },
  {
    pattern: /\bdoomed\b|\bwakeGroup\b|\brestGroup\b|\bLastStraw\b|\bgoOn\b|\bmadeBy\b/,
    use: 'a noun of the field',
  },
  { pattern: /\bHostDriver\b|\bHOSTS\b|\bCI hosts?\b|\bCI services?\b/, use: 'CI provider, AgentDriver' },
  {
    pattern: /\bone a (function|part|group|set|day|page|minute)\b|\ba line a\b|\bonce a (set|boot)\b/i,
    use: 'per',
  },
  {
    pattern:
      // CircleCI's product is the machine runner, `machine` is its command, and `machine: true` selects it. A line of a netrc file begins with it.
      /(?<!state |virtual |developer's |own |this |fresh |new |build |same |two-core |other |circleci-runner |\/|')\bmachines?\b(?!-id| runner|: true| \w+ login)/i,
    use: 'instance',
  },
];

/** One use of a word that the project does not use. */
export type Use = { file: string; line: number; text: string; use: string };

/** The uses in one file. */
export function uses(file: string, source: string): Use[] {
  return source.split('\n').flatMap((text, index) =>
    TERMS.filter(({ pattern }) => pattern.test(text)).map(({ use }) => ({
      file,
      line: index + 1,
      text: text.trim().slice(0, 120),
      use,
    })),
  );
}
