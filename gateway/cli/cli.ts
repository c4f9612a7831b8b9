// The `weir` tool: tokens and API keys for whoever gets going. Pure: what it needs is passed in.
import type { CliCommand, CliContext, CliResult } from './command.ts';
import { KEY_USAGE, keyCommand } from './key-command.ts';
import { TOKEN_USAGE, tokenCommand } from './token-command.ts';

/** sysexits.h EX_USAGE. */
const EXIT_CODE_USAGE = 64;

const commands: Readonly<Record<string, { readonly run: CliCommand; readonly usage: string }>> = {
  token: { run: tokenCommand, usage: TOKEN_USAGE },
  key: { run: keyCommand, usage: KEY_USAGE },
};
const usage = Object.values(commands)
  .map((command) => command.usage)
  .join('\n');

const asksForHelp = (argument: string | undefined): boolean => argument === '--help' || argument === '-h';

/** Never throws. */
export const runCli = ([name, ...args]: readonly string[], context: CliContext): CliResult => {
  if (name === undefined || asksForHelp(name)) {
    return { stdout: usage, stderr: '', exitCode: name === undefined ? EXIT_CODE_USAGE : 0 };
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    return { stdout: '', stderr: `weir: no command ${JSON.stringify(name)}\n\n${usage}`, exitCode: EXIT_CODE_USAGE };
  }
  if (args.some(asksForHelp)) return { stdout: command.usage, stderr: '', exitCode: 0 };
  try {
    return { ...command.run(args, context), exitCode: 0 };
  } catch (error) {
    return { stdout: '', stderr: `weir ${name}: ${(error as Error).message}\n`, exitCode: EXIT_CODE_USAGE };
  }
};
