// The configuration keys of hooks to the application's backend; part of `configKeys`.
import { EVENT_TYPES } from '../hooks/events/event-body.ts';
import { DECISION_HOOKS } from '../hooks/hooks.ts';
import { bytes, choices, duration, flag, integer, list, none, text, value } from './key-spec.ts';
import { isWebUrl } from './urls.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const isDecisionHook = (name: string): boolean => (DECISION_HOOKS as readonly string[]).includes(name);

export const hookKeys = {
  hookConnectUrl: text('an http:// or https:// URL', isWebUrl, {
    default: none('not asked'),
    secret: 'url',
    description: 'The backend that decides about connects and may say who the client is (see hooks.md).',
  }),
  hookSubscribeUrl: text('an http:// or https:// URL', isWebUrl, {
    default: none('not asked'),
    secret: 'url',
    description: 'The backend that decides about subscriptions, beside the rights.',
  }),
  hookPublishUrl: text('an http:// or https:// URL', isWebUrl, {
    default: none('not asked'),
    secret: 'url',
    description: "The backend that decides about clients' publications, beside the rights.",
  }),
  hookRpcUrl: text('an http:// or https:// URL', isWebUrl, {
    default: none('rpc is not available'),
    secret: 'url',
    description: 'The backend that answers `rpc` commands.',
  }),
  hookEventsUrl: text('an http:// or https:// URL', isWebUrl, {
    default: none('nobody is told'),
    secret: 'url',
    description: 'The backend that is told of lifecycle events, at least once each (see hooks.md).',
  }),
  hookEventsTypes: choices(EVENT_TYPES, {
    default: value(EVENT_TYPES),
    description: 'Lifecycle events the backend is told, where `hookEventsUrl` is set.',
  }),
  hookEventsGraceMs: duration(0, HOUR_MS, {
    default: value(5000),
    description: 'Time a channel stays occupied without subscribers, so that reconnects are no events.',
  }),
  hookEventsLeaseMs: duration(2000, HOUR_MS, {
    default: value(10_000),
    description:
      'Time without a word from a node after which its connections are told as disconnected. Time in which no node reaches the broker does not count.',
  }),
  hookEventsMaxBacklog: integer(100, 10_000_000, {
    default: value(100_000),
    description:
      'Lifecycle events kept for a backend that does not take them, in the whole cluster; the same number of changes on each node while the broker is away. What is beyond is told as one event `lost` that says how many.',
  }),
  hookSecret: text('text of 1–4096 characters', () => true, {
    default: none('none; needed by every hook'),
    secret: 'yes',
    description: 'Signs the calls of hooks (HMAC-SHA256): the bytes of the text, or Base64 behind `whsec_`.',
  }),
  hookTimeoutMs: duration(10, MINUTE_MS, {
    default: value(3000),
    description:
      'Longest time of one attempt to call a hook; also the longest wait for a place among the concurrent ones.',
  }),
  hookRetries: integer(0, 10, {
    default: value(1),
    description:
      'Attempts after the first when a decision hook cannot be reached or answers 429 or 5xx. `rpc` is never repeated.',
  }),
  hookFailOpen: list('hooks out of connect, subscribe, publish', isDecisionHook, {
    default: value([]),
    description:
      'Hooks that count as yes while the backend cannot be asked (time, network, 429, 5xx, queue, circuit breaker). The others refuse with error 100.',
  }),
  hookMaxConcurrent: integer(1, 10_000, { default: value(100), description: 'Calls under way at once, per hook.' }),
  hookMaxQueue: integer(0, 1_000_000, {
    default: value(1000),
    description: 'Calls that wait beyond them, per hook; further ones count as unanswered.',
  }),
  hookMaxAnswerBytes: bytes(64, 16 * MiB, {
    default: value(64 * KiB),
    description: 'Largest answer of a hook; a larger one counts as none.',
  }),
  hookBreakerFailures: integer(1, 1_000_000, {
    default: value(10),
    description: 'Failed attempts in a row after which a hook is not called for `hookBreakerOpenMs`.',
  }),
  hookBreakerOpenMs: duration(1, HOUR_MS, {
    default: value(5000),
    description: 'Time between the attempts to find out whether such a hook answers again.',
  }),
  hookPrivateAddresses: flag({
    default: value(true),
    description:
      'Whether hooks may be in a private network. Set it to false where their URLs come from data, such as from tenants: names that resolve to any private address are refused then.',
  }),
};
