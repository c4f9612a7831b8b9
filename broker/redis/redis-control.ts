// The control bus over Redis: leases as keys that expire, requests and answers over topics.
import type { ControlBus, ControlHandler, Json, NodeRecord, RequestResult } from '../control.ts';
import type { BrokerClock } from '../clock.ts';
import type { KeySpace } from './keys.ts';
import type { Link } from './link.ts';
import type { Subscriber } from './subscriber.ts';
import type { Redis } from 'ioredis';
import { BrokerUnavailableError } from '../broker.ts';
import { driverError } from './driver-error.ts';
import { asError } from './link.ts';
import { createMembers, type Members } from './members.ts';
import { loadScript, runScript } from './script.ts';

export interface RedisControlOptions {
  readonly node: string;
  readonly leaseMs: number;
  readonly keySpace: KeySpace;
  readonly clock: BrokerClock;
  readonly randomId: () => string;
  /** Of the server that holds the control keys by now; undefined while nobody does. */
  readonly commands: () => Link | undefined;
  readonly subscriberLink: () => Link | undefined;
  readonly subscriber: Pick<Subscriber, 'keep'>;
  onError(error: Error, stage: string): void;
}

export interface RedisControl extends ControlBus {
  /**
   * As `request`, but of lives instead of nodes, since a node that started again does not know what it knew before; and also of
   * lives whose lease this server may have lost: all of `members`. `node` and `missing` name lives. With `open` the time is
   * waited out, and answers of lives that this node did not know count too.
   */
  requestMembers(kind: string, payload: Json, timeoutMs: number, open: boolean): Promise<RequestResult>;
  /** The lives there were of late, see members.ts. */
  readonly members: Members;
  /** Ends the lease and every open request. */
  close(): Promise<void>;
}

interface RequestMessage {
  readonly id: number;
  readonly answerTo: string;
  readonly kind: string;
  readonly payload: Json;
}

/** `ok: false`: the node has no answer, and none will follow. */
type AnswerMessage = { readonly id: number; readonly node: string; readonly life: string } & (
  | { readonly ok: true; readonly answer: Json }
  | { readonly ok: false }
);

interface OpenRequest {
  onAnswer(message: AnswerMessage): void;
  fail(error: Error): void;
}

export const createRedisControl = (options: RedisControlOptions): RedisControl => {
  const { node, leaseMs, subscriber } = options;
  const { partition, index, lives, leasePrefix, requestTopic, answerTopicPrefix } = options.keySpace.control;
  const announceScript = loadScript('announce.lua');
  const nodesScript = loadScript('nodes.lua');
  const livesScript = loadScript('lives.lua');
  const releaseScript = loadScript('release.lua');
  const instance = options.randomId();
  const life = `${node} ${instance}`;
  const answerTopic = answerTopicPrefix + instance;
  const handlers = new Map<string, ControlHandler>();
  const requests = new Map<number, OpenRequest>();
  let lastId = 0;
  let lastRecord: string | undefined;
  const members = createMembers(2 * leaseMs, leaseMs / 2);
  const seeLeased = (names: unknown): void => {
    for (const name of names as readonly Buffer[]) members.see(name.toString(), 0);
  };

  const run = async <T>(what: string, work: (redis: Redis) => Promise<T>): Promise<T> => {
    const commands = options.commands();
    if (commands?.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await work(commands.redis);
    } catch (error) {
      throw new BrokerUnavailableError(`${what} failed`, { cause: driverError(error) });
    }
  };

  const readNodes = async (redis: Redis): Promise<NodeRecord[]> => {
    const records = await runScript(redis, nodesScript, [index], [leasePrefix]);
    return (records as Buffer[]).map((record) => JSON.parse(record.toString()) as NodeRecord);
  };

  const notify = (redis: Redis, topic: string, message: unknown): Promise<unknown> =>
    redis.call(options.keySpace.notifyCommand, topic, JSON.stringify(message));

  const answer = async ({ id, answerTo, kind, payload }: RequestMessage): Promise<void> => {
    const handler = handlers.get(kind);
    let message: AnswerMessage = { id, node, life, ok: false };
    if (handler !== undefined) {
      try {
        message = { id, node, life, ok: true, answer: await handler(payload) };
      } catch (error) {
        options.onError(asError(error), `control.handle ${kind}`);
      }
    }
    await run('the answer', (redis) => notify(redis, answerTo, message));
  };

  const receiveRequest = (message: Buffer): void => {
    answer(JSON.parse(message.toString()) as RequestMessage).catch((error: unknown) => {
      options.onError(asError(error), 'control.answer');
    });
  };

  const receiveAnswer = (message: Buffer): void => {
    const parsed = JSON.parse(message.toString()) as AnswerMessage;
    requests.get(parsed.id)?.onAnswer(parsed);
  };

  const collect = (
    id: number,
    names: readonly string[],
    timeoutMs: number,
    nameOf: (message: AnswerMessage) => string,
    open: boolean,
  ): Promise<RequestResult> =>
    new Promise((resolve, reject) => {
      const answers = new Map<string, Json>();
      const waiting = new Set(names);
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        requests.delete(id);
        settle();
      };
      const finishNow = (): void =>
        finish(() =>
          resolve({
            answers: [...new Set([...names, ...answers.keys()])]
              .filter((name) => answers.has(name))
              .map((name) => ({ node: name, answer: answers.get(name)! })),
            missing: names.filter((name) => !answers.has(name)),
          }),
        );
      const timer = setTimeout(finishNow, timeoutMs);
      requests.set(id, {
        onAnswer(message) {
          const name = nameOf(message);
          if (!waiting.delete(name) && !open) return;
          if (message.ok) answers.set(name, message.answer);
          if (waiting.size === 0 && !open) finishNow();
        },
        fail: (error) => finish(() => reject(error)),
      });
      if (waiting.size === 0 && !open) finishNow();
    });

  const ask = async (
    kind: string,
    payload: Json,
    timeoutMs: number,
    list: (redis: Redis) => Promise<readonly string[]>,
    nameOf: (message: AnswerMessage) => string,
    open = false,
  ): Promise<RequestResult> => {
    if (options.subscriberLink()?.isUp() !== true) throw new BrokerUnavailableError('not connected to Redis');
    const names = await run('listing the nodes', list);
    const id = (lastId += 1);
    const collected = collect(id, names, timeoutMs, nameOf, open);
    const message: RequestMessage = { id, answerTo: answerTopic, kind, payload };
    run('the request', (redis) => notify(redis, requestTopic, message)).catch((error: unknown) => {
      requests.get(id)?.fail(asError(error));
    });
    return collected;
  };

  subscriber.keep(requestTopic, partition, receiveRequest);
  subscriber.keep(answerTopic, partition, receiveAnswer);

  return {
    leaseMs,
    announce: (info) =>
      run('the announcement', async (redis) => {
        const record: NodeRecord = { node, info, announcedAtMs: options.clock.nowMs() };
        lastRecord = JSON.stringify(record);
        const args = [lastRecord, leaseMs, node, life];
        seeLeased(await runScript(redis, announceScript, [leasePrefix + node, index, lives], args));
        members.tick(performance.now());
      }),
    nodes: () => run('listing the nodes', readNodes),
    handle(kind, handler) {
      handlers.set(kind, handler);
    },
    request: (kind, payload, timeoutMs) =>
      ask(
        kind,
        payload,
        timeoutMs,
        async (redis) => (await readNodes(redis)).map((record) => record.node),
        (message) => message.node,
      ),
    requestMembers: (kind, payload, timeoutMs, open) =>
      ask(
        kind,
        payload,
        timeoutMs,
        async (redis) => {
          seeLeased(await runScript(redis, livesScript, [lives], []));
          return Object.keys(members.ages());
        },
        (message) => message.life,
        open,
      ),
    members,
    async close() {
      const commands = options.commands();
      for (const request of [...requests.values()]) request.fail(new BrokerUnavailableError('the broker is closed'));
      if (lastRecord === undefined || commands?.isUp() !== true) return;
      const args = [lastRecord, node];
      await runScript(commands.redis, releaseScript, [leasePrefix + node, index], args).catch((error: unknown) => {
        options.onError(driverError(error), 'control.release');
      });
    },
  };
};
