// Runs a built bundle, or the source of a handler, with one batch from standard input, as Lambda does. Prints the log lines
// first and the answer last.
import { createRequire } from 'node:module';

const [file] = process.argv.slice(2);
const pieces = [];
for await (const piece of process.stdin) pieces.push(piece);
const { handler } = file.endsWith('.ts') ? await import(file) : createRequire(import.meta.url)(file);
const answer = await handler(JSON.parse(Buffer.concat(pieces).toString()), {
  functionName: 'test',
  getRemainingTimeInMillis: () => 60_000,
});
process.stdout.write(`\n${JSON.stringify({ answer })}\n`);
process.exit(0);
