// Fan-out: every socket of every VU subscribes, publishers offer a constant rate by HTTP, and each subscriber proves that nothing is missing.
/* eslint-disable @typescript-eslint/no-unsafe-class-instance-assignment -- k6's types declare the shapes of plain option objects as classes */
import { check, sleep } from 'k6';
import { scenario } from 'k6/execution';
import http from 'k6/http';
import type { Options } from 'k6/options';
import { setTimeout } from 'k6/timers';
import { createContiguityTracker } from '../contiguity.ts';
import { channelNames, settingsFromEnvironment } from '../settings.ts';
import { startLagMeter } from './lag-meter.ts';
import {
  connectTime,
  deliveryLatency,
  messagesDuplicate,
  messagesMissing,
  messagesReceived,
  messagesReordered,
  offsetsReceipted,
  publishedRate,
  serverErrors,
  startCounters,
  subscribedRate,
  subscribersComplete,
  subscribeTime,
  unexpectedCloses,
} from './metrics.ts';
import { openSession } from './session.ts';

const settings = settingsFromEnvironment(__ENV);
const channels = channelNames(settings, 'fan-out');
const publishUrl = `${settings.apiUrl}/v1/publish`;
const publishHeaders = { 'Content-Type': 'application/json', 'X-API-Key': settings.apiKey };

/** In-flight publications are given this long after the last one was offered. */
const publisherGraceMs = 5_000;
/** The closing message is the last of its channel, so it is sent when no publisher can be left. */
const endAtMs = settings.warmUpMs + settings.durationMs + publisherGraceMs + 500;
/** After the closing message, stragglers before it may still come for this long. */
const stragglerGraceMs = 2_000;
const maxGeneratorLagP95Ms = 100;
const subscriberMaxMs = endAtMs + 15_000;

interface Payload {
  readonly sentAtMs: number;
  readonly end: boolean;
}

const padding = 'x'.repeat(
  Math.max(0, settings.payloadBytes - JSON.stringify({ sentAtMs: Date.now(), end: false, padding: '' }).length),
);

export const options = {
  scenarios: {
    subscribers: {
      executor: 'per-vu-iterations',
      exec: 'subscriber',
      vus: settings.vus,
      iterations: 1,
      maxDuration: `${subscriberMaxMs}ms`,
      gracefulStop: '1s',
    },
    publishers: {
      executor: 'constant-arrival-rate',
      exec: 'publisher',
      startTime: `${settings.warmUpMs}ms`,
      duration: `${settings.durationMs}ms`,
      rate: settings.publicationsPerSecond,
      timeUnit: '1s',
      preAllocatedVUs: Math.min(200, Math.max(20, settings.publicationsPerSecond)),
      maxVUs: 200,
      gracefulStop: `${publisherGraceMs}ms`,
    },
    closing: {
      executor: 'shared-iterations',
      exec: 'closeChannel',
      startTime: `${endAtMs}ms`,
      vus: 1,
      iterations: channels.length,
      maxDuration: '10s',
      gracefulStop: '1s',
    },
  },
  thresholds: {
    weir_messages_missing: ['count==0'],
    weir_messages_duplicate: ['count==0'],
    weir_messages_reordered: ['count==0'],
    weir_messages_received: ['count>0'],
    weir_subscribers_complete: [`count==${settings.vus * settings.socketsPerVu}`],
    weir_subscribed: ['rate==1'],
    weir_published: ['rate==1'],
    weir_unexpected_closes: ['count==0'],
    weir_server_errors: ['count==0'],
    weir_delivery_latency: [`p(99)<${settings.maxDeliveryP99Ms}`],
    weir_connect_time: [`p(95)<${settings.maxConnectP95Ms}`],
    // A generator that cannot keep up proves nothing about the cluster.
    dropped_iterations: ['count==0'],
    weir_generator_lag: [`p(95)<${maxGeneratorLagP95Ms}`],
  },
  summaryTrendStats: ['min', 'med', 'avg', 'p(95)', 'p(99)', 'p(99.9)', 'max', 'count'],
} satisfies Options;

export function setup(): void {
  startCounters();
}

function publish(channel: string, end: boolean): void {
  const data = { sentAtMs: Date.now(), end, padding };
  const response = http.post(publishUrl, JSON.stringify({ channel, data }), { headers: publishHeaders });
  publishedRate.add(
    check(response, {
      'publication has an offset': (answer) => answer.status === 200 && Number(answer.json('offset')) > 0,
    }),
  );
}

export function publisher(): void {
  publish(channels[scenario.iterationInTest % channels.length]!, false);
}

export function closeChannel(): void {
  publish(channels[scenario.iterationInTest]!, true);
}

export function subscriber(): void {
  const meter = startLagMeter();
  let open = settings.socketsPerVu;
  const onDone = (): void => {
    open -= 1;
    if (open === 0) meter.stop();
  };
  for (let index = 0; index < settings.socketsPerVu; index += 1) {
    subscribeOnce(channels[((__VU - 1) * settings.socketsPerVu + index) % channels.length]!, onDone);
  }
}

/** `onDone` is called once, when the socket has been judged. */
function subscribeOnce(channel: string, onDone: () => void): void {
  let tracker = createContiguityTracker(0);
  let endOffset: number | undefined;
  let judged = false;

  // Counted once at the end of the channel: a hole that a late message fills is reordering, not loss.
  const judge = (): void => {
    if (judged) return;
    judged = true;
    const report = tracker.report(endOffset ?? tracker.head);
    messagesReceived.add(report.received);
    messagesMissing.add(report.missing);
    messagesDuplicate.add(report.duplicate);
    messagesReordered.add(report.reordered);
    offsetsReceipted.add(report.receipted);
    if (endOffset !== undefined && report.missing === 0) subscribersComplete.add(1);
    onDone();
  };
  const finish = (): void => {
    judge();
    session.close();
  };

  const session = openSession(
    { wsUrl: settings.wsUrl, channel, token: settings.token },
    {
      onConnected: (tookMs) => connectTime.add(tookMs),
      onSubscribed: (tookMs, offset) => {
        subscribeTime.add(tookMs);
        subscribedRate.add(true);
        tracker = createContiguityTracker(offset);
      },
      onMessage: (push) => {
        const payload = push.data as Payload;
        tracker.accept(push.offset);
        deliveryLatency.add(Date.now() - payload.sentAtMs);
        if (payload.end) endOffset = push.offset;
        if (endOffset === undefined) return;
        if (tracker.isComplete(endOffset)) finish();
        else if (payload.end) setTimeout(finish, stragglerGraceMs);
      },
      onGap: (push) => {
        if (push.from !== null && push.to !== null) tracker.acceptGap(push.from, push.to);
        if (push.offset !== undefined) tracker.restart(push.offset);
      },
      onError: (error) => serverErrors.add(1, { name: error.name }),
      onEnd: (end) => {
        if (end.stage !== 'live') subscribedRate.add(false, { stage: end.stage });
        unexpectedCloses.add(1, { code: String(end.code), stage: end.stage });
        console.warn(`subscriber closed while ${end.stage}: code ${end.code} ${end.reason}`);
        judge();
      },
    },
  );
}

export function teardown(): void {
  // The last close frames are written by the event loops of the VUs; leaving at once would cut them off.
  sleep(0.5);
}
