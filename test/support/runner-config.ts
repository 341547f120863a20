import { join } from 'node:path';

/** The text of a configuration of aw-runner whose directories are below `folder`. */
export function runnerConfig(folder: string, change: object = {}): string {
  return JSON.stringify({
    version: 1,
    region: 'us-east-1',
    bucket: 'b',
    reportsUrl: 'https://sqs.example.com/q',
    group: 'gha/default',
    autoScalingGroup: 'aw-gha-default',
    directories: {
      images: join(folder, 'images'),
      warm: join(folder, 'warm'),
      state: join(folder, 'state'),
    },
    jobSocket: join(folder, 'job', 'socket'),
    agent: { driver: 'gha' },
    ...change,
  });
}
