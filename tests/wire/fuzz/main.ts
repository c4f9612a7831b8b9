// `npm run fuzz`: minutes of fuzzing, or one seed again.
import { parseArgs } from 'node:util';
import { fuzz, type Target, TARGETS } from './fuzz.ts';

const USAGE = `Usage: npm run fuzz -- [options]
Hostile input for every decoder, the HTTP API (from its OpenAPI document) and WebSocket frames of one real node.

  --minutes <m>    how long (1)
  --seed <n>       the rounds of an earlier run again (random)
  --targets <a,b>  ${TARGETS.join(', ')} (all)
  --per-round <n>  inputs per target and round (1000)
  --rounds <n>     this many rounds instead of minutes
  --help           this text
`;
/** sysexits.h EX_USAGE. */
const EXIT_CODE_USAGE = 64;
const MS_PER_MINUTE = 60_000;
const SEEDS = 1_000_000;

class UsageError extends Error {}

const numberOf = (name: string, text: string | undefined, least: number, otherwise: number): number => {
  const value = text === undefined ? otherwise : Number(text);
  if (!Number.isFinite(value) || value < least)
    throw new UsageError(`--${name}: a number from ${least} expected, got "${text}"`);
  return value;
};

const isTarget = (name: string): name is Target => (TARGETS as readonly string[]).includes(name);

const read = () => {
  const string = { type: 'string' } as const;
  const options = { minutes: string, seed: string, targets: string, 'per-round': string, rounds: string } as const;
  const { values } = parseArgs({ options: { ...options, help: { type: 'boolean' } } });
  const targets = (values.targets ?? TARGETS.join(',')).split(',').map((name) => name.trim());
  if (!targets.every(isTarget)) throw new UsageError(`--targets: some of ${TARGETS.join(', ')} expected`);
  const seed = Math.floor(numberOf('seed', values.seed, 0, Math.floor(Math.random() * SEEDS)));
  const deadline = performance.now() + numberOf('minutes', values.minutes, 0, 1) * MS_PER_MINUTE;
  const rounds = values.rounds === undefined ? undefined : numberOf('rounds', values.rounds, 1, 1);
  return {
    help: values.help === true,
    seed,
    targets,
    perRound: Math.floor(numberOf('per-round', values['per-round'], 1, 1000)),
    goesOn: (done: number): boolean => (rounds === undefined ? performance.now() < deadline : done < rounds),
  };
};

// Ending by `exit` runs what the processes below registered to end themselves.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

const say = (line: string): void => void process.stdout.write(`${line}\n`);

try {
  const { help, ...options } = read();
  if (help) process.stdout.write(USAGE);
  else {
    say(`seed ${options.seed}`);
    try {
      const { rounds, inputs, before, after } = await fuzz({ ...options, say });
      say(`${rounds} rounds, nothing broke: ${JSON.stringify({ inputs, before, after })}`);
    } catch (error) {
      say(`FAILED: ${error instanceof Error ? error.message : String(error)}`);
      process.exitCode = 1;
    }
  }
} catch (error) {
  // parseArgs throws TypeErrors that name the option.
  if (!(error instanceof UsageError || error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = EXIT_CODE_USAGE;
}
