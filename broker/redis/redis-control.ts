// The control bus over Redis: leases as keys that expire, requests and answers over topics.
import type { ControlBus, ControlHandler, Json, NodeRecord, RequestResult } from '../control.ts';
import type { BrokerClock } from '../clock.ts';
import type { KeySpace } from './keys.ts';
import type { Link } from './link.ts';
import type { Subscriber } from './subscriber.ts';
import { BrokerUnavailableError } from '../broker.ts';
import { driverError } from './driver-error.ts';
import { asError } from './link.ts';
import { loadScript, runScript } from './script.ts';

export interface RedisControlOptions {
  readonly node: string;
  readonly leaseMs: number;
  readonly keySpace: KeySpace;
  readonly clock: BrokerClock;
  readonly randomId: () => string;
  readonly commands: Link;
  readonly subscriberLink: Link;
  readonly subscriber: Subscriber;
  onError(error: Error, stage: string): void;
}

export interface RedisControl extends ControlBus {
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
type AnswerMessage = { readonly id: number; readonly node: string } & (
  | { readonly ok: true; readonly answer: Json }
  | { readonly ok: false }
);

interface OpenRequest {
  onAnswer(message: AnswerMessage): void;
  fail(error: Error): void;
}

export const createRedisControl = (options: RedisControlOptions): RedisControl => {
  const { node, leaseMs, commands, subscriber, subscriberLink } = options;
  const { index, leasePrefix, requestTopic, answerTopicPrefix } = options.keySpace.control;
  const announceScript = loadScript('announce.lua');
  const nodesScript = loadScript('nodes.lua');
  const releaseScript = loadScript('release.lua');
  const answerTopic = answerTopicPrefix + options.randomId();
  const handlers = new Map<string, ControlHandler>();
  const requests = new Map<number, OpenRequest>();
  let lastId = 0;
  let lastRecord: string | undefined;

  const run = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    if (!commands.isUp()) throw new BrokerUnavailableError('not connected to Redis');
    try {
      return await work();
    } catch (error) {
      throw new BrokerUnavailableError(`${what} failed`, { cause: driverError(error) });
    }
  };

  const readNodes = async (): Promise<NodeRecord[]> => {
    const records = await runScript(commands.redis, nodesScript, [index], [leasePrefix]);
    return (records as Buffer[]).map((record) => JSON.parse(record.toString()) as NodeRecord);
  };

  const answer = async ({ id, answerTo, kind, payload }: RequestMessage): Promise<void> => {
    const handler = handlers.get(kind);
    let message: AnswerMessage = { id, node, ok: false };
    if (handler !== undefined) {
      try {
        message = { id, node, ok: true, answer: await handler(payload) };
      } catch (error) {
        options.onError(asError(error), `control.handle ${kind}`);
      }
    }
    await run('the answer', () => commands.redis.publish(answerTo, JSON.stringify(message)));
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

  const collect = (id: number, names: readonly string[], timeoutMs: number): Promise<RequestResult> =>
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
            answers: names
              .filter((name) => answers.has(name))
              .map((name) => ({ node: name, answer: answers.get(name)! })),
            missing: names.filter((name) => !answers.has(name)),
          }),
        );
      const timer = setTimeout(finishNow, timeoutMs);
      requests.set(id, {
        onAnswer(message) {
          if (!waiting.delete(message.node)) return;
          if (message.ok) answers.set(message.node, message.answer);
          if (waiting.size === 0) finishNow();
        },
        fail: (error) => finish(() => reject(error)),
      });
      if (waiting.size === 0) finishNow();
    });

  subscriber.keep(requestTopic, receiveRequest);
  subscriber.keep(answerTopic, receiveAnswer);

  return {
    leaseMs,
    announce: (info) =>
      run('the announcement', async () => {
        const record: NodeRecord = { node, info, announcedAtMs: options.clock.nowMs() };
        lastRecord = JSON.stringify(record);
        await runScript(commands.redis, announceScript, [leasePrefix + node, index], [lastRecord, leaseMs, node]);
      }),
    nodes: () => run('listing the nodes', readNodes),
    handle(kind, handler) {
      handlers.set(kind, handler);
    },
    async request(kind, payload, timeoutMs) {
      if (!subscriberLink.isUp()) throw new BrokerUnavailableError('not connected to Redis');
      const names = (await run('listing the nodes', readNodes)).map((record) => record.node);
      const id = (lastId += 1);
      const collected = collect(id, names, timeoutMs);
      const message: RequestMessage = { id, answerTo: answerTopic, kind, payload };
      run('the request', () => commands.redis.publish(requestTopic, JSON.stringify(message))).catch(
        (error: unknown) => {
          requests.get(id)?.fail(asError(error));
        },
      );
      return collected;
    },
    async close() {
      for (const request of [...requests.values()]) request.fail(new BrokerUnavailableError('the broker is closed'));
      if (lastRecord === undefined || !commands.isUp()) return;
      const args = [lastRecord, node];
      await runScript(commands.redis, releaseScript, [leasePrefix + node, index], args).catch((error: unknown) => {
        options.onError(driverError(error), 'control.release');
      });
    },
  };
};
