// Which server owns each partition, as far as is known, and who finds out.

/** URL of the owner by partition; undefined while nobody serves it. */
export type Owners = readonly (string | undefined)[];

export interface Topology {
  /** Calls `onOwners` at least once, and again after every change. */
  start(onOwners: (owners: Owners) => void): void;
  /** What is known seems to be out of date: look now. */
  refresh(): void;
  close(): void;
}

/** Who owns a partition according to one member. Of several the highest epoch is the newest. */
export interface Claim {
  readonly url: string;
  readonly epoch: number;
}

/** What one member of the deployment knows. */
export interface TopologyView {
  /** By partition. */
  readonly claims: readonly (Claim | undefined)[];
  /** URLs of further members that can be asked. */
  readonly members: readonly string[];
}

/** By partition the newest claim; of equal ones the first. */
export const newestClaims = (views: readonly (readonly (Claim | undefined)[])[], partitions: number): Claims =>
  Array.from({ length: partitions }, (_, partition) => {
    let newest: Claim | undefined;
    for (const claims of views) {
      const claim = claims[partition];
      if (claim !== undefined && (newest === undefined || claim.epoch > newest.epoch)) newest = claim;
    }
    return newest;
  });

export type Claims = readonly (Claim | undefined)[];

export const createFixedTopology = (url: string, partitions: number): Topology => ({
  start(onOwners) {
    onOwners(new Array<string>(partitions).fill(url));
  },
  refresh: () => undefined,
  close: () => undefined,
});
