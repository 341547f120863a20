import type { Cloud } from '../cloud.ts';

/** Instructions for a cloud that stays up after the demo. */
export function keepAliveText(cloud: Cloud): string {
  const { url, region, accessKeyId, secretAccessKey } = cloud.descriptor;
  return [
    '',
    'The local cloud stays up until Ctrl-C. In another terminal:',
    '',
    `  export AWS_ENDPOINT_URL=${url} AWS_REGION=${region} \\`,
    `         AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey}`,
    '  aws autoscaling describe-auto-scaling-groups',
    `  aws s3 ls s3://${cloud.deployment.bucket} --recursive`,
    '  aws ssm get-parameters-by-path --path /aw --recursive',
    '',
    '  npm run invoke -- lifecycle test/fixtures/events/ec2-spot-interruption-warning-terminate.json',
    '',
    `Logs of the runners: ${cloud.folder}/logs`,
  ].join('\n');
}
