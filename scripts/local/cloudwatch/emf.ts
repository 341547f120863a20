import * as v from 'valibot';
import { issuesText } from '../../../shared/runtime/validate.ts';
import { type MetricId, type Sample, sampleOf } from './samples.ts';

/** CloudWatch's embedded metric format: a log line that lists which of its fields are metrics. */
const directiveSchema = v.object({
  _aws: v.object({
    Timestamp: v.number(),
    CloudWatchMetrics: v.array(
      v.object({
        Namespace: v.pipe(v.string(), v.nonEmpty()),
        Dimensions: v.pipe(v.array(v.pipe(v.array(v.string()), v.maxLength(30))), v.nonEmpty()),
        Metrics: v.array(
          v.object({ Name: v.pipe(v.string(), v.nonEmpty()), Unit: v.optional(v.string(), 'None') }),
        ),
      }),
    ),
  }),
});

/** Values of one metric in one line: a number, or at most 100 (EMF specification). */
const valuesSchema = v.union([
  v.pipe(
    v.pipe(v.number(), v.finite()),
    v.transform((value) => [value]),
  ),
  v.pipe(v.array(v.pipe(v.number(), v.finite())), v.minLength(1), v.maxLength(100)),
]);

export type Measurement = { metric: MetricId; sample: Sample };

/** What a line measured, and what CloudWatch would drop from it without telling anybody. */
export type ParsedLine = { measurements: Measurement[]; problems: string[] };

/** Reads one log line. A line that is no embedded metric has no measurements and no problems. */
export function parseEmbeddedMetrics(line: string): ParsedLine {
  const fields = fieldsOf(line);
  if (fields === undefined) return { measurements: [], problems: [] };
  const directive = v.safeParse(directiveSchema, fields);
  if (!directive.success) {
    return { measurements: [], problems: [`not an embedded metric: ${issuesText(directive.issues)}`] };
  }
  const { Timestamp: time, CloudWatchMetrics } = directive.output._aws;
  const result: ParsedLine = { measurements: [], problems: [] };
  for (const { Namespace, Dimensions, Metrics } of CloudWatchMetrics) {
    for (const { Name, Unit } of Metrics) {
      const values = v.safeParse(valuesSchema, fields[Name]);
      if (!values.success) {
        result.problems.push(`${Name}: expected a number or 1 to 100 numbers`);
        continue;
      }
      const sample = sampleOf(
        time,
        Unit,
        values.output.map((value) => ({ value, count: 1 })),
      );
      for (const names of Dimensions) {
        const dimensions = pick(fields, names);
        if (dimensions === undefined) result.problems.push(`${Name}: no text for ${names.join(', ')}`);
        else result.measurements.push({ metric: { namespace: Namespace, name: Name, dimensions }, sample });
      }
    }
  }
  return result;
}

/** The JSON object of a line, after the prefix of a log driver, if it contains metrics. */
function fieldsOf(line: string): Record<string, unknown> | undefined {
  if (!line.includes('"_aws"')) return undefined;
  try {
    const parsed: unknown = JSON.parse(line.slice(line.indexOf('{')));
    return v.is(v.record(v.string(), v.unknown()), parsed) && '_aws' in parsed ? parsed : undefined;
  } catch {
    // Any text may stand in a log: one that is no JSON is no metric.
    return undefined;
  }
}

function pick(fields: Record<string, unknown>, names: readonly string[]) {
  const picked: Record<string, string> = {};
  for (const name of names) {
    const value = fields[name];
    if (typeof value !== 'string' || value === '') return undefined;
    picked[name] = value;
  }
  return picked;
}
