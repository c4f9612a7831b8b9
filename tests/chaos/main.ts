// `npm run chaos`: one long run, or one seed again.
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';
import { ALL_KINDS } from './scenario.ts';

const USAGE = `Usage: npm run chaos -- [options]
Breaks a real cluster at random for a while and checks that nothing is lost in silence.

  --seed <n>       steps of an earlier run again (random)
  --minutes <m>    how long it is broken (1)
  --steps <a,b>    ${ALL_KINDS.join(', ')} (all but the last two)
  --help           this text
`;
/** sysexits.h EX_USAGE. */
const EXIT_CODE_USAGE = 64;
const MS_PER_MINUTE = 60_000;
const SEEDS = 1_000_000;

class UsageError extends Error {}

const read = () => {
  const options = {
    seed: { type: 'string' },
    minutes: { type: 'string' },
    steps: { type: 'string' },
    help: { type: 'boolean' },
  } as const;
  const { values } = parseArgs({ options });
  const seed = values.seed === undefined ? Math.floor(Math.random() * SEEDS) : Number(values.seed);
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new UsageError(`--seed: an integer expected, got "${values.seed}"`);
  const minutes = Number(values.minutes ?? '1');
  if (!(minutes > 0)) throw new UsageError(`--minutes: a number above 0 expected, got "${values.minutes}"`);
  const kinds = values.steps?.split(',').map((name) => {
    const kind = ALL_KINDS.find((candidate) => candidate === name.trim());
    if (kind === undefined) throw new UsageError(`--steps: one of ${ALL_KINDS.join(', ')} expected, got "${name}"`);
    return kind;
  });
  return {
    help: values.help === true,
    seed,
    durationMs: minutes * MS_PER_MINUTE,
    ...(kinds === undefined ? {} : { kinds }),
  };
};

// Ending by `exit` runs what the processes below registered to end themselves.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

try {
  const { help, ...options } = read();
  if (help) process.stdout.write(USAGE);
  else {
    const { report } = await runChaos({ ...options, say: (line) => void process.stdout.write(`${line}\n`) });
    if (report !== '') {
      process.stdout.write(
        `${report}\nagain: npm run chaos -- --seed ${options.seed} --minutes ${options.durationMs / MS_PER_MINUTE}\n`,
      );
      process.exitCode = 1;
    }
  }
} catch (error) {
  // parseArgs throws TypeErrors that name the option.
  if (!(error instanceof UsageError || error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = EXIT_CODE_USAGE;
}
