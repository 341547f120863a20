import type { Present } from './plan.ts';

/** Parameter Store in one region. */
export interface ParameterPort {
  /** Every parameter below `root`, secure ones without their value in clear. */
  list(root: string): Promise<Present[]>;
  put(name: string, value: string): Promise<void>;
  /** Deletes those that are there. @param names at most `DELETE_BATCH` */
  remove(names: readonly string[]): Promise<void>;
}

/** Names that Parameter Store deletes in one call (DeleteParameters). */
export const DELETE_BATCH = 10;

/** How many machines a runner group has, by Auto Scaling's word. */
export type GroupCapacity = {
  name: string;
  min: number;
  max: number;
  desired: number;
  inService: number;
  draining: number;
};

/** The part of Auto Scaling that this function reads. */
export interface GroupsPort {
  /** Groups of this deployment. */
  list(): Promise<GroupCapacity[]>;
}
