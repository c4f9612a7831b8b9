// Connect storm: the whole herd opens at once, subscribes, holds, leaves and comes back; nobody may be refused and nothing may be left behind.
/* eslint-disable @typescript-eslint/no-unsafe-class-instance-assignment -- k6's types declare the shapes of plain option objects as classes */
import { sleep } from 'k6';
import http from 'k6/http';
import type { Options } from 'k6/options';
import { setTimeout } from 'k6/timers';
import { channelNames, settingsFromEnvironment } from '../settings.ts';
import {
  connectionsLeft,
  connectTime,
  serverErrors,
  socketsSubscribed,
  startCounters,
  subscribedRate,
  subscribeTime,
  unexpectedCloses,
} from './metrics.ts';
import { openSession, type Session } from './session.ts';

const settings = settingsFromEnvironment(__ENV);
const channels = channelNames(settings, 'connect-storm');
const socketCount = settings.vus * settings.socketsPerVu;
/** A round that has not subscribed all its sockets after this long has failed. */
const roundMaxMs = settings.holdMs + 30_000;
const drainedWithinMs = 15_000;

export const options = {
  scenarios: {
    herd: {
      executor: 'per-vu-iterations',
      exec: 'herd',
      vus: settings.vus,
      iterations: settings.rounds,
      maxDuration: `${settings.rounds * roundMaxMs}ms`,
      gracefulStop: '1s',
    },
  },
  thresholds: {
    weir_connect_time: [`p(95)<${settings.maxConnectP95Ms}`],
    weir_subscribe_time: [`p(95)<${settings.maxConnectP95Ms}`],
    weir_sockets_subscribed: [`count==${socketCount * settings.rounds}`],
    weir_subscribed: ['rate==1'],
    weir_unexpected_closes: ['count==0'],
    weir_server_errors: ['count==0'],
    weir_connections_left: ['count==0'],
  },
  summaryTrendStats: ['min', 'med', 'avg', 'p(95)', 'p(99)', 'p(99.9)', 'max', 'count'],
  setupTimeout: '30s',
  teardownTimeout: `${drainedWithinMs + 10_000}ms`,
} satisfies Options;

export function setup(): void {
  startCounters();
}

export function herd(): void {
  for (let index = 0; index < settings.socketsPerVu; index += 1) {
    openOnce(channels[((__VU - 1) * settings.socketsPerVu + index) % channels.length]!);
  }
}

function openOnce(channel: string): void {
  const session: Session = openSession(
    { wsUrl: settings.wsUrl, channel, token: settings.token },
    {
      onConnected: (tookMs) => connectTime.add(tookMs),
      onSubscribed: (tookMs) => {
        subscribeTime.add(tookMs);
        subscribedRate.add(true);
        socketsSubscribed.add(1);
        setTimeout(() => session.close(), settings.holdMs);
      },
      onMessage: () => undefined,
      onGap: () => undefined,
      onError: (error) => serverErrors.add(1, { name: error.name }),
      onEnd: (end) => {
        if (end.stage !== 'live') subscribedRate.add(false, { stage: end.stage });
        unexpectedCloses.add(1, { code: String(end.code), stage: end.stage });
        console.warn(`socket closed while ${end.stage}: code ${end.code} ${end.reason}`);
      },
    },
  );
}

function clusterConnections(): number {
  const response = http.get(`${settings.apiUrl}/v1/stats`, { headers: { 'X-API-Key': settings.apiKey } });
  if (response.status !== 200) throw new Error(`GET /v1/stats answered ${response.status}: ${response.status_text}`);
  return Number(response.json('connections'));
}

export function teardown(): void {
  if (!settings.exclusive) return;
  const deadline = Date.now() + drainedWithinMs;
  let left = clusterConnections();
  while (left > 0 && Date.now() < deadline) {
    sleep(0.25);
    left = clusterConnections();
  }
  connectionsLeft.add(left);
}
