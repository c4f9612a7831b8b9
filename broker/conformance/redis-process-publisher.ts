// A publishing process for tests: publishes through the Redis driver and prints the positions it got as one line of JSON.
//
// Arguments: url, prefix, node, channel, number of publications, then optionally "stay" to announce itself and live until killed.
import { createRedisBroker } from '../redis/redis-broker.ts';
import { createRecorder, range, requestFor } from './harness.ts';

const [url = '', prefix = '', node = '', channel = '', count = '0', afterwards] = process.argv.slice(2);
const broker = createRedisBroker({ url, prefix, node, leaseMs: 500, publishTimeoutMs: 30_000 });
await broker.start(createRecorder());
const positions: { readonly epoch: string; readonly offset: number }[] = [];
// In bursts, so that calls of several processes interleave.
for (const burst of range(1, Number(count) / 20)) {
  positions.push(
    ...(await Promise.all(range(1, 20).map((n) => broker.publish(requestFor(channel, `${node}-${burst}-${n}`))))),
  );
}
await broker.control.announce({ pid: process.pid });
console.log(JSON.stringify(positions.map(({ epoch, offset }) => [epoch, offset])));
if (afterwards === 'stay') setInterval(() => void broker.control.announce({ pid: process.pid }), 100);
else await broker.close();
