import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { HOSTILE_NAME } from '../../test/support/timeline-events.ts';
import { foldEvents } from './fleet.ts';
import { renderPage } from './page.ts';

const fleet = foldEvents([
  { event: 'timeline', version: 1, title: `Day ${HOSTILE_NAME}`, source: HOSTILE_NAME },
  { event: 'launch', at: 1, runner: HOSTILE_NAME, group: HOSTILE_NAME },
  { event: 'job', id: HOSTILE_NAME, name: HOSTILE_NAME, runner: HOSTILE_NAME, startedAt: 2 },
  { event: 'note', at: 3, level: 'error', text: `</script>${HOSTILE_NAME}` },
]);

test('no text of a job becomes markup', async () => {
  const page = await renderPage(fleet);
  expect(page).not.toContain('alert(1)</script>');
  expect(page.match(/<script/gi)).toHaveLength(2);
  expect(page.match(/<\/script/gi)).toHaveLength(2);
  expect(page).not.toContain('<img');
  expect(page).toContain('Day &lt;script&gt;alert(1)&lt;/script&gt;');
  // It is there, as data.
  const data = /<script id="data"[^>]*>([^<]*)</.exec(page)?.[1] ?? '';
  expect(gunzipSync(Buffer.from(data, 'base64')).toString()).toContain(
    JSON.stringify(HOSTILE_NAME).slice(1, -1),
  );
});

test('the policy allows its own script and style, and nothing else', async () => {
  const page = await renderPage(fleet);
  const policy = /Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? '';
  const digest = (element: string) => {
    const content = new RegExp(`<${element}>([\\s\\S]*?)</${element}>`).exec(page)?.[1] ?? '';
    expect(content.length).toBeGreaterThan(1000);
    return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
  };
  expect(policy).toBe(
    `default-src 'none'; style-src ${digest('style')}; script-src ${digest('script')}; base-uri 'none'; form-action 'none'`,
  );
});

test('nothing is loaded from anywhere', async () => {
  const page = await renderPage(foldEvents([]));
  expect(page).not.toMatch(/https?:|src=|href=|@import|url\(/);
});
