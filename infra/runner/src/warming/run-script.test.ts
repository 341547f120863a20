import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { followFile } from './follow-file.ts';
import { runScript } from './run-script.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hearth-run-script-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function start(script: string, directory = folder) {
  const [program, ...args] = runScript({ argv: ['sh', '-c', script], directory }, folder);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const ended = once(child, 'close').then(([code]) => ({ code, output }));
  return { child, ended };
}

describe('the script of a run', () => {
  test('runs the program in its directory and ends with its exit code', async () => {
    expect(await start('pwd; exit 7').ended).toEqual({ code: 7, output: `${folder}\n` });
    expect(await start('true').ended).toEqual({ code: 0, output: '' });
    expect(await start('kill -9 $$').ended).toMatchObject({ code: 137 });
    expect((await start('true', join(folder, 'none')).ended).code).toBe(1);
  });

  test('passes SIGTERM on to the program, and waits for its end', async () => {
    const { child, ended } = start(
      'trap "echo stopped; exit 3" TERM; echo begun; while :; do sleep 0.05; done',
    );
    await once(child.stdout, 'data');
    child.kill('SIGTERM');
    expect(await ended).toEqual({ code: 3, output: 'begun\nstopped\n' });
  });

  test.runIf(process.platform === 'linux')(
    'lets a Bazel server in the warm directory write its state',
    async () => {
      const saved = join(folder, 'saved');
      const server = join(folder, 'server');
      writeFileSync(
        server,
        `trap 'sleep 0.3; echo state >${saved}; exit 0' TERM\n: >${folder}/ready\nwhile :; do sleep 0.05; done\n`,
      );
      const started = `until [ -e ${folder}/ready ]; do sleep 0.05; done`;
      const script = `sh ${server} --output_base=${folder}/output/x >/dev/null 2>&1 & ${started}; exit 5`;
      expect(await start(script).ended).toMatchObject({ code: 5 });
      expect(readFileSync(saved, 'utf8')).toBe('state\n');
    },
  );

  test.runIf(process.platform === 'linux')('ends no server of another directory', async () => {
    const server = join(folder, 'server');
    writeFileSync(server, `while :; do sleep 0.05; done\n`);
    const pid = join(folder, 'pid');
    const script = `sh ${server} --output_base=/elsewhere/output/x >/dev/null 2>&1 & echo $! >${pid}`;
    await start(script).ended;
    const left = Number(readFileSync(pid, 'utf8'));
    expect(existsSync(`/proc/${left}`)).toBe(true);
    process.kill(left, 'SIGKILL');
  });
});

test('a file is followed from its first line to an incomplete last one, and no line is longer than the log takes', async () => {
  const file = join(folder, 'log');
  const lines: string[] = [];
  const follower = followFile(file, (line) => lines.push(line));
  appendFileSync(file, 'one\ntw');
  await expect.poll(() => lines, { timeout: 20_000 }).toEqual(['one']);
  appendFileSync(file, `o\n${'x'.repeat(9_000)}\nlast`);
  await follower.end();
  expect(lines.slice(0, 2)).toEqual(['one', 'two']);
  expect(lines.slice(2).map(({ length }) => length)).toEqual([4_000, 4_000, 1_000, 4]);
  expect(lines.at(-1)).toBe('last');
});
