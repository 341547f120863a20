/** A runner group at the moment of a decision. */
export type GroupSize = {
  min: number;
  max: number;
  desired: number;
  /** Jobs that run on instances of the group that are in service. */
  running: number;
};

/**
 * The desired capacity of one group: `running + ceil(queued x factor)` within the limits of the group. It is only ever raised.
 * Instances end themselves when they are idle, and only they can tell that they are.
 *
 * @param queued jobs that wait and are counted for this group
 * @param factor `scale_out_factor` of the group
 * @returns the capacity to set; undefined: the present one stays
 */
export function raiseTo(group: GroupSize, queued: number, factor: number): number | undefined {
  const wanted = Math.max(group.min, group.running + Math.ceil(queued * factor));
  const target = Math.min(group.max, wanted);
  return target > group.desired ? target : undefined;
}
