import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { actionsOf, parsePermissions } from '../../../scripts/docs/apply-policy.ts';
import { covers } from '../state.ts';
import type { Applied } from './applied.ts';

const root = resolve(import.meta.dirname, '../../..');

/** Resource types that the module creates only with other inputs. */
const ELSEWHERE = ['aws_s3_object_copy'];

export function aboutApplyPermissions(made: Applied): void {
  const listed = parsePermissions(readFileSync(join(root, 'infra/docs/iam/permissions.json'), 'utf8'));

  describe('permissions for terraform apply', () => {
    test('are listed for exactly the types that the module creates', () => {
      const types = new Set(made.all.map(({ type }) => type).filter((type) => type.startsWith('aws_')));
      expect(Object.keys(listed).sort()).toEqual([...types, ...ELSEWHERE].sort());
    });

    test('include tagging for every tagged resource', () => {
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

    test('name resource patterns that match the ARNs of the example', () => {
      const arns = made.all.flatMap(({ type, address, values }) =>
        // The ARN of an event target is the ARN of the queue. The ARN of an event source mapping contains an id.
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
