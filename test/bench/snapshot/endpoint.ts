import { startS3Server } from '../../support/s3-server.ts';

/** The S3 of a benchmark, in a process of its own: it prints its address, and ends with its parent. */
const server = await startS3Server();
console.log(server.url);
process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
