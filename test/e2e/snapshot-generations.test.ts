import { execFileSync } from 'node:child_process';
import { closeSync, copyFileSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { changedUnits, extentsOf } from '../../infra/runner/src/snapshot/extents.ts';
import { markedUnits } from '../../infra/runner/src/snapshot/save-plan.ts';
import { verifyContent } from '../../infra/runner/src/snapshot/verify-content.ts';
import { MAX_OBJECTS } from '../../shared/snapshot/manifest.ts';
import { UNIT_BYTES } from '../../shared/snapshot/units.ts';
import { whyMissing } from '../support/packages.ts';
import { seeded } from '../support/random.ts';
import { BUCKET, expectSame, listing, SET, startWorld, type World } from '../support/snapshots.ts';

const reason = await whyMissing({
  'mkfs.xfs': 'xfsprogs',
  mke2fs: 'e2fsprogs',
  setfacl: 'acl',
  setfattr: 'attr',
});
if (reason) console.warn(`the tests of generations of snapshots are skipped: ${reason}`);

const GENERATIONS = 10;
const CHANGES = 120;
const chance = seeded();

/** A script of random changes to a tree. A change that does not fit the tree does nothing. */
function changes(count: number): string {
  const pick = (most: number) => Math.floor(chance.next() * most);
  const file = () => `d${pick(8)}/f${pick(60)}`;
  const size = () => 2 ** pick(18);
  const kinds: (() => string)[] = [
    () => `head -c ${size()} /dev/urandom >${file()}`,
    () => `yes ${pick(1e6)} | head -c ${size()} >${file()}`,
    () => `head -c ${size()} /dev/urandom >>${file()}`,
    () => `head -c ${size()} /dev/zero >${file()}`,
    () => `truncate -s ${size()} ${file()}`,
    () => `dd if=/dev/urandom of=${file()} bs=4096 count=1 seek=${pick(20)} conv=notrunc`,
    () => `fallocate -p -o ${4096 * pick(10)} -l ${4096 * (1 + pick(10))} ${file()}`,
    () => `mv ${file()} ${file()}`,
    () => `ln ${file()} ${file()}`,
    () => `ln -sf ${file()} ${file()}`,
    () => `rm -f ${file()}`,
    () => `mv d${pick(8)} d${pick(8)}/sub${pick(3)} && mkdir -p d0 d1 d2 d3 d4 d5 d6 d7`,
    () => `rm -rf d${pick(8)} && mkdir -p d0 d1 d2 d3 d4 d5 d6 d7`,
    () => `cp -a d${pick(8)} d${pick(8)}/copy${pick(3)}`,
    () => `setfattr -n user.x${pick(3)} -v ${'v'.repeat(1 + pick(300))} ${file()}`,
    () => `chmod ${['600', '755', '4711'][pick(3)]} ${file()}`,
    () => `touch ${file()}`,
    () => 'find . -type f -exec touch {} +',
  ];
  const lines = Array.from({ length: count }, () => `(${kinds[pick(kinds.length)]?.()}) 2>/dev/null || true`);
  return ['mkdir -p d0 d1 d2 d3 d4 d5 d6 d7', ...lines].join('\n');
}

describe.skipIf(reason !== undefined)(`random changes (HEARTH_SEED=${chance.seed})`, () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld();
  });
  afterEach(() => world.close());

  const change = (cwd: string, count = CHANGES) =>
    execFileSync('bash', ['-c', changes(count)], { cwd, stdio: 'ignore' });

  test(`${GENERATIONS} generations: every instance has the same tree, whatever it had before`, async () => {
    const maker = world.instance('maker');
    const always = world.instance('always');
    const rarely = world.instance('rarely');
    const kinds: string[] = [];
    let most = 0;
    for (let generation = 0; generation < GENERATIONS; generation += 1) {
      await world.restore(maker);
      // In the eighth most of the tree changes, so that frames are compacted or all is sent again.
      change(maker.warm, generation === 7 ? 8 * CHANGES : CHANGES);
      const expected = listing(maker.warm);
      const saved = await world.saveAndPromote(maker);
      kinds.push(saved.kind);
      most = Math.max(most, saved.manifest.frames.length);
      const problem = await verifyContent({ s3: world.s3, bucket: BUCKET, set: SET, id: saved.id });
      expect(problem, `seed ${chance.seed}, generation ${generation}`).toBeUndefined();
      const fresh = world.instance(`fresh-${generation}`);
      const followers = generation % 3 === 2 ? [always, fresh, rarely] : [always, fresh];
      for (const directories of followers) {
        expect(await world.restore(directories)).toMatchObject({ outcome: 'restored', id: saved.id });
        expectSame(listing(directories.warm), expected, `seed ${chance.seed}, generation ${generation}`);
      }
    }
    expect(kinds).toContain('difference');
    expect(most).toBeLessThanOrEqual(MAX_OBJECTS);
    console.log(`saves: ${kinds.join(', ')}; at most ${most} objects`);
  }, 400_000);

  test('changed units by addresses are those by reading, also while a third clone exists', async () => {
    const maker = world.instance('maker');
    await world.restore(maker);
    change(maker.warm, 4 * CHANGES);
    const { id } = await world.saveAndPromote(maker);
    await world.restore(maker);
    const trees = join(maker.images, 'trees');
    const [image = ''] = readdirSync(trees).filter((name) => name.endsWith('.img'));
    const base = join(maker.images, 'base', `${id}.img`);
    for (let round = 0; round < 3; round += 1) {
      change(maker.warm);
      execFileSync('sh', ['-c', 'sync; fstrim .'], { cwd: maker.warm });
      // Clones of the changed image, as of a run that is repeated: they set the flag for shared blocks.
      execFileSync('cp', [
        '--reflink=always',
        join(trees, image),
        join(world.folder, 'disk', `third-${round}`),
      ]);
      const size = statSync(base).size;
      const marked = changedUnits(await extentsOf(base), await extentsOf(join(trees, image)), size);
      const [ours, theirs] = [openSync(join(trees, image), 'r'), openSync(base, 'r')];
      const [a, b] = [Buffer.alloc(UNIT_BYTES), Buffer.alloc(UNIT_BYTES)];
      const allocated = changedUnits(undefined, await extentsOf(join(trees, image)), size);
      for (const unit of markedUnits(changedUnits(undefined, await extentsOf(base), size)))
        allocated[unit] = 1;
      let different = 0;
      for (const unit of markedUnits(allocated)) {
        readSync(ours, a, 0, UNIT_BYTES, unit * UNIT_BYTES);
        readSync(theirs, b, 0, UNIT_BYTES, unit * UNIT_BYTES);
        if (a.equals(b)) continue;
        different += 1;
        expect(marked[unit], `seed ${chance.seed}, unit ${unit}`).toBe(1);
      }
      expect(different).toBeGreaterThan(10);
      closeSync(ours);
      closeSync(theirs);
    }
  }, 200_000);

  describe('without a file system with reflink, as on a laptop without root', () => {
    let plain: World;
    beforeEach(async () => {
      plain = await startWorld({ withDisk: false });
    });
    afterEach(() => plain.close());

    /** What a copy keeps: names, kinds, permissions, owners, whole seconds (not of links), targets and content. */
    const kept = (path: string) =>
      execFileSync(
        'sh',
        [
          '-c',
          "find . -type l -printf 'l %U:%G %l %p\\0' -o -printf '%y %U:%G %m %Ts %p\\0' | LC_ALL=C sort -z; find . -type f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum",
        ],
        { cwd: path, encoding: 'latin1', maxBuffer: 1e9 },
      );

    test('a tree is the same after a save and a restore, over three generations', async () => {
      const maker = plain.instance('maker');
      for (let generation = 0; generation < 3; generation += 1) {
        await plain.restore(maker);
        change(maker.warm);
        execFileSync(
          'sh',
          [
            '-c',
            // A copy has no setuid bits, which have no effect in a mounted tree either.
            'find . -type f -perm /6000 -exec chmod a-s {} +; find . -exec setfattr -h -x user.x0 -x user.x1 -x user.x2 {} + 2>/dev/null; find . -type f -exec sh -c \'for f; do for n in 0 1 2; do setfattr -x user.x$n "$f"; done; done\' sh {} + 2>/dev/null; printf x >"$(printf \'odd \\n " \\377\')"',
          ],
          { cwd: maker.warm },
        );
        const expected = kept(maker.warm);
        const saved = await plain.saveAndPromote(maker);
        expect(saved.kind).toBe('full');
        const runner = plain.instance(`runner-${generation}`);
        expect(await plain.restore(runner)).toMatchObject({ outcome: 'restored', id: saved.id });
        expect(kept(runner.warm), `seed ${chance.seed}, generation ${generation}`).toBe(expected);
      }
      expect(plain.warnings.join()).toContain('the warm directory is a copy');
    }, 200_000);

    test.each([
      ['a named pipe', 'mkfifo special', 'a kind other than file'],
      [
        'an attribute',
        'touch special; setfattr -n user.a -v b special',
        'attributes or an access control list',
      ],
      [
        'an access control list',
        'touch special; setfacl -m u:1:r special',
        'attributes or an access control list',
      ],
      ['a time after 2038', 'touch -d 2040-01-01 special', 'a time outside 1970 to 2038'],
      ['a time before 1970', 'touch -d 1960-01-01 special', 'a time outside 1970 to 2038'],
    ])('a snapshot with %s is refused by the name of the file', async (_, script, problem) => {
      const maker = world.instance('maker');
      await world.restore(maker);
      execFileSync('sh', ['-c', script], { cwd: maker.warm });
      await world.saveAndPromote(maker);
      for (const [key, { body }] of world.server.objects) plain.server.put(key, body);
      const runner = plain.instance('runner');
      expect(await plain.restore(runner)).toMatchObject({ outcome: 'cold' });
      expect(plain.warnings.join()).toContain(`/warm/special has ${problem}`);
      expect(readdirSync(runner.warm)).toEqual([]);
      copyFileSync('/dev/null', join(runner.warm, 'of-a-job'));
    });
  });
});
