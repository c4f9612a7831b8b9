// Points the Autobahn fuzzing client at a node, directly and through HAProxy: `npm run autobahn -- --wstest <path>`.
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { temporaryDirectory } from '../support/index.ts';
import { ECHO_PATH, startEcho } from './echo-node.ts';

const USAGE = `usage: npm run autobahn -- [--wstest <path>] [--cases 1.*,7.*]

wstest is the program of autobahntestsuite 0.8.2, which needs Python 2.7:
  python2.7 -m virtualenv venv && venv/bin/pip install autobahntestsuite==0.8.2
12.* and 13.* test compression, which Weir does not offer: they are reported as unimplemented.`;

/** The largest messages of group 9. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** What Autobahn says of a case that is in order. */
const IN_ORDER = new Set(['OK', 'NON-STRICT', 'INFORMATIONAL', 'UNIMPLEMENTED']);

interface CaseResult {
  readonly behavior: string;
  readonly behaviorClose: string;
}
type Report = Readonly<Record<string, Readonly<Record<string, CaseResult>>>>;

const { values } = parseArgs({
  options: {
    wstest: { type: 'string', default: 'wstest' },
    cases: { type: 'string', default: '1.*,2.*,3.*,4.*,5.*,6.*,7.*,9.*,10.*' },
    help: { type: 'boolean', default: false },
  },
});

const run = async (): Promise<void> => {
  await using echo = await startEcho(MAX_MESSAGE_BYTES);
  const directory = await temporaryDirectory('autobahn');
  try {
    const reports = join(directory.path, 'reports');
    await mkdir(reports);
    const specification = join(directory.path, 'specification.json');
    const servers = Object.entries(echo.ports).map(([agent, port]) => ({
      agent,
      url: `ws://127.0.0.1:${port}${ECHO_PATH}`,
      options: { version: 18 },
    }));
    await writeFile(
      specification,
      JSON.stringify({ outdir: reports, servers, cases: values.cases.split(','), 'exclude-cases': [] }),
    );
    await promisify(execFile)(values.wstest, ['-m', 'fuzzingclient', '-s', specification], { maxBuffer: 2 ** 28 });
    const report = JSON.parse(await readFile(join(reports, 'index.json'), 'utf8')) as Report;
    for (const [agent, cases] of Object.entries(report)) {
      const counts: Record<string, number> = {};
      for (const [name, { behavior, behaviorClose }] of Object.entries(cases)) {
        counts[behavior] = (counts[behavior] ?? 0) + 1;
        if (IN_ORDER.has(behavior) && IN_ORDER.has(behaviorClose)) continue;
        process.exitCode = 1;
        process.stdout.write(`${agent}: ${name}: ${behavior}, close: ${behaviorClose}\n`);
      }
      const notStrict = Object.keys(cases).filter((name) => cases[name]!.behavior === 'NON-STRICT');
      process.stdout.write(`${agent}: ${JSON.stringify(counts)}; not strict: ${notStrict.join(' ') || 'none'}\n`);
    }
  } finally {
    await directory.remove();
  }
};

if (values.help) process.stdout.write(`${USAGE}\n`);
else
  await run().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}\n`);
    process.exitCode = 1;
  });
