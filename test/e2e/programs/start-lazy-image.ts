import { readFileSync } from 'node:fs';
import { mountLazyImage, startLazyImage } from '../../../infra/runner/src/snapshot/lazy/lazy-image.ts';

/** Starts and mounts a lazy image, for a test that kills this program half-way. Arguments: directory, file with the request, program. */
const [directory = '', request = '', program = ''] = process.argv.slice(2);
await startLazyImage({ directory, request: JSON.parse(readFileSync(request, 'utf8')), program });
await mountLazyImage(directory);
console.log('mounted');
