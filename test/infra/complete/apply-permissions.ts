import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { actionsOf, parsePermissions } from '../../../scripts/docs/apply-policy.ts';
import type { Applied } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

/** Types that only another way of using the module makes. */
const ELSEWHERE = ['aws_s3_object_copy'];

export function aboutApplyPermissions(made: Applied): void {
  const listed = parsePermissions(readFileSync(join(root, 'infra/docs/iam/permissions.json'), 'utf8'));

  describe('the permissions that applying needs', () => {
    test('are listed for every type that is made, and for no other', () => {
      const types = new Set(made.all.map(({ type }) => type).filter((type) => type.startsWith('aws_')));
      expect(Object.keys(listed).sort()).toEqual([...types, ...ELSEWHERE].sort());
    });

    test('cover tags wherever there are tags', () => {
      for (const { type, address, values } of made.all) {
        const tags =
          Object.keys(values.tags ?? {}).length + ((values.tag as unknown[] | undefined)?.length ?? 0);
        const permissions = listed[type];
        if (tags > 0 && permissions)
          expect(
            actionsOf(permissions).some((action) =>
              /:(Put\w+Tagging|CreateTags|CreateOrUpdateTags|Tag\w+)$/.test(action),
            ),
            address,
          ).toBe(true);
      }
    });

    test('name resources that the names of the example match', () => {
      const arns = made.all.flatMap(({ type, address, values }) =>
        // A target's ARN is that of what it feeds, and that of a mapping is made up of an id.
        typeof values.arn === 'string' && listed[type] && !/event_(target|source_mapping)/.test(type)
          ? [{ type, address, arn: values.arn }]
          : [],
      );
      expect(arns.length).toBeGreaterThan(100);
      for (const { type, address, arn } of arns)
        expect(
          listed[type]?.on.some((pattern) => covers(pattern, arn)),
          `${address}: ${arn}`,
        ).toBe(true);
    });
  });
}

/** Stars of IAM match anything, colons and slashes too. */
function covers(pattern: string, arn: string): boolean {
  const parts = pattern.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(arn);
}
