// The contract of a command of the `weir` tool: text in, text and an exit code out.

export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** UTF-8 text of a file; throws when it cannot be read. */
  readonly readFile: (path: string) => string;
  /** Unix time, ms. */
  readonly nowMs: number;
  /** `bytes` unpredictable bytes as base64url. */
  readonly random: (bytes: number) => string;
}

export interface CliResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Arguments after the command's name. Throws an error for people when they cannot be used. */
export type CliCommand = (args: readonly string[], context: CliContext) => Pick<CliResult, 'stdout' | 'stderr'>;
