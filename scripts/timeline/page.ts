import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { build, transform } from 'esbuild';
import { compact } from './compact.ts';
import type { TimelineEvent } from './events.ts';
import { type Fleet, foldEvents } from './fleet.ts';

const FOLDER = join(import.meta.dirname, 'page');

/**
 * The timeline of a fleet as one HTML file. It loads nothing: its policy allows its own style and script, by their digests, and no
 * connection. The data are compressed and encoded, so no text of a job can become markup.
 */
export async function renderPage(fleet: Fleet): Promise<string> {
  const [template, style, script, data] = await Promise.all([
    readFile(join(FOLDER, 'page.html.tmpl'), 'utf8'),
    minifiedStyle(),
    bundledScript(),
    promisify(gzip)(JSON.stringify(compact(fleet)), { level: 9 }),
  ]);
  const policy = [
    `default-src 'none'`,
    `style-src '${digest(style)}'`,
    `script-src '${digest(script)}'`,
    `base-uri 'none'`,
    `form-action 'none'`,
  ].join('; ');
  const parts: Record<string, string> = {
    policy,
    style,
    script,
    title: escapeHtml(fleet.title),
    data: data.toString('base64'),
  };
  return template.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const part = parts[name];
    if (part === undefined) throw new Error(`page.html.tmpl names {{${name}}}, which the page does not have`);
    return part;
  });
}

async function minifiedStyle(): Promise<string> {
  const { code } = await transform(await readFile(join(FOLDER, 'page.css'), 'utf8'), {
    loader: 'css',
    minify: true,
  });
  return code.trim();
}

async function bundledScript(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(FOLDER, 'main.ts')],
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    // ASCII alone, so that the digest does not depend on how the file is decoded.
    charset: 'ascii',
    logLevel: 'silent',
  });
  const text = outputFiles[0]?.text.trim() ?? '';
  // The end of a script element within a text of the script would end it.
  return text.replaceAll(/<\/(script)/gi, String.raw`<\/$1`);
}

/** Source expression of a policy for the content of one element. */
function digest(content: string): string {
  return `sha256-${createHash('sha256').update(content).digest('base64')}`;
}

function escapeHtml(text: string): string {
  const names: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replaceAll(/[&<>"']/g, (char) => names[char] ?? char);
}

/**
 * Writes the page of a timeline.
 *
 * @param file its folder is made if it does not exist
 */
export async function writePage(
  file: string,
  events: readonly TimelineEvent[],
): Promise<{ fleet: Fleet; bytes: number }> {
  const fleet = foldEvents(events);
  const page = await renderPage(fleet);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, page);
  return { fleet, bytes: Buffer.byteLength(page) };
}
