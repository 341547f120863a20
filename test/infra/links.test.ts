import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

const pages = [
  'README.md',
  'CHANGELOG.md',
  ...['docs', 'functions', 'infra', 'scripts', 'test'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !name.includes('.terraform'))
      .map((name) => join(folder, name)),
  ),
];

/** Text of a page without code blocks. */
function prose(page: string): string {
  return readFileSync(join(root, page), 'utf8').replace(/^ *```.*?^ *```/gms, '');
}

/** Anchors of a page's headings, as GitHub derives them. */
function anchors(page: string): string[] {
  return [...prose(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('links between pages', () => {
  test.each(pages)('links of %s have existing targets', (page) => {
    for (const [, link = ''] of prose(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? page : join(dirname(page), path);
      expect(existsSync(join(root, target)), `${page}: ${link}`).toBe(true);
      if (anchor !== undefined) expect(anchors(target), `${page}: ${link}`).toContain(anchor);
    }
  });

  test.each(['README.md', 'docs/architecture.md'])('paths in %s exist', (page) => {
    const paths = [...prose(page).matchAll(/`((?:docs|functions|infra|scripts|shared|test)\/[\w./-]*)`/g)];
    expect(paths.length).toBeGreaterThan(5);
    for (const [, path = ''] of paths) expect(existsSync(join(root, path)), `${page}: ${path}`).toBe(true);
  });

  test('the index of runbooks lists every runbook', () => {
    const index = prose('docs/runbooks/README.md');
    const runbooks = pages.filter((page) => /^docs\/runbooks\/(?!README)/.test(page));
    expect(runbooks.length).toBeGreaterThan(10);
    for (const page of runbooks) expect(index).toContain(`](${page.replace('docs/runbooks/', '')})`);
  });
});
