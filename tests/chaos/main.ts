// `npm run chaos`: one long run, or one seed again.
import { parseArgs } from 'node:util';
import { runChaos } from './chaos.ts';
import { DEFAULT_KINDS, type Deployment, type FaultKind, KINDS } from './scenario.ts';

const USAGE = `Usage: npm run chaos -- [options]
Breaks a real cluster at random for a while and checks that nothing is lost in silence.

  --redis <a,b>    standalone, sentinel: each in a run of its own (both)
  --seed <n>       steps of an earlier run again (random)
  --minutes <m>    how long each is broken (1)
  --steps <a,b>    of standalone: ${KINDS.standalone.join(', ')};
                   of sentinel: ${KINDS.sentinel.join(', ')} (all but the last one)
  --help           this text
`;
/** sysexits.h EX_USAGE. */
const EXIT_CODE_USAGE = 64;
const MS_PER_MINUTE = 60_000;
const SEEDS = 1_000_000;

class UsageError extends Error {}

const ALL_KINDS = [...new Set(Object.values(KINDS).flat())];
const DEPLOYMENTS: readonly Deployment[] = ['standalone', 'sentinel'];

/** A comma list of known names; undefined when there is none. */
const pick = <Name extends string>(option: string, text: string | undefined, known: readonly Name[]) =>
  text?.split(',').map((name) => {
    const found = known.find((candidate) => candidate === name.trim());
    if (found === undefined) throw new UsageError(`--${option}: one of ${known.join(', ')} expected, got "${name}"`);
    return found;
  });

const read = () => {
  const options = {
    redis: { type: 'string' },
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
  const deployments = pick('redis', values.redis, DEPLOYMENTS) ?? DEPLOYMENTS;
  const named = pick<FaultKind>('steps', values.steps, ALL_KINDS);
  const runs = deployments.map((deployment) => {
    const kinds =
      named === undefined ? DEFAULT_KINDS[deployment] : KINDS[deployment].filter((kind) => named.includes(kind));
    if (kinds.length === 0)
      throw new UsageError(`--steps: none of them happens to ${deployment}; name one with --redis`);
    return { deployment, kinds };
  });
  return {
    help: values.help === true,
    seed,
    durationMs: minutes * MS_PER_MINUTE,
    runs,
  };
};

// Ending by `exit` runs what the processes below registered to end themselves.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

try {
  const { help, runs, ...options } = read();
  if (help) process.stdout.write(USAGE);
  for (const { deployment, kinds } of help ? [] : runs) {
    const say = (line: string): void => void process.stdout.write(`${line}\n`);
    const { report } = await runChaos({ ...options, deployment, kinds, say });
    if (report === '') continue;
    const { seed, durationMs } = options;
    const steps = kinds === DEFAULT_KINDS[deployment] ? '' : ` --steps ${kinds.join(',')}`;
    say(
      `${report}\nagain: npm run chaos -- --redis ${deployment} --seed ${seed} --minutes ${durationMs / MS_PER_MINUTE}${steps}`,
    );
    process.exitCode = 1;
  }
} catch (error) {
  // parseArgs throws TypeErrors that name the option.
  if (!(error instanceof UsageError || error instanceof TypeError)) throw error;
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = EXIT_CODE_USAGE;
}
