import { startAwsEndpoint } from '../bundles/aws-endpoint.ts';

/** An AWS endpoint in a process of its own, so that its work is not counted. Prints its address; ends with its input. */
const endpoint = await startAwsEndpoint();
console.log(endpoint.url);
process.stdin.resume().once('end', () => process.exit(0));
