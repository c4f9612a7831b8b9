// Every metric of a node, declared once: the registry, the dashboards, the alerts and the documentation read this list.
import { LIFECYCLE_TYPES } from '../../broker/lifecycle.ts';
import { closeCodes, errorCodes } from '../../protocol/codes.ts';
import { MOVE_REASONS } from '../../protocol/pushes.ts';

export type MetricType = 'counter' | 'gauge' | 'histogram';

export interface MetricDeclaration {
  readonly type: MetricType;
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram, in the unit of its name. */
  readonly buckets?: readonly number[];
  /** Known values of the only label: exported as 0 from the start, so that the first event is an increase. */
  readonly known?: readonly string[];
}

const counter = (help: string, ...labels: string[]): MetricDeclaration => ({ type: 'counter', help, labels });
/** A counter whose label has values that are known beforehand. */
const counterOf = (help: string, label: string, known: readonly string[]): MetricDeclaration => ({
  type: 'counter',
  help,
  labels: [label],
  known,
});
const gauge = (help: string, ...labels: string[]): MetricDeclaration => ({ type: 'gauge', help, labels });
const histogram = (buckets: readonly number[], help: string, ...labels: string[]): MetricDeclaration => ({
  type: 'histogram',
  help,
  labels,
  buckets,
});

const errorNames = Object.values(errorCodes).map(({ name }) => name);
/** 1000, 1005 and 1006 are the client's or the network's doing. */
const closeNumbers = [
  '1000',
  '1005',
  '1006',
  '4xxx',
  'other',
  ...Object.values(closeCodes).map(({ code }) => String(code)),
];

/** Values of the `reason` of `weir_limited_total`: one per limit. */
export const LIMIT_REASONS = [
  'bytes',
  'commands',
  'publishes',
  'channel_publishes',
  'user_publishes',
  'ip_publishes',
  'api_key_publishes',
  'subscriptions',
  'user_subscriptions',
  'user_connections',
  'ip_connections',
] as const;

/** Latency from half a millisecond to ten seconds. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.1, 0.25, 1, 2.5, 10] as const;

export const metricDeclarations = {
  weir_node_info: gauge('Always 1; labels name the node and its version.', 'node', 'version', 'profile'),
  weir_node_ready: gauge('1 while GET /health/ready answers 200, else 0.'),
  weir_node_draining: gauge('1 from the first SIGTERM or POST /v1/drain on.'),
  weir_node_deaf: gauge('1 while publications are acknowledged by the broker and do not arrive at this node.'),
  weir_node_deaf_total: counter('Times this node became deaf.'),

  weir_connections: gauge('Open connections.'),
  weir_connections_opened_total: counter('Connections accepted.'),
  weir_connections_closed_total: counterOf(
    'Connections closed, by close code (1005 and 1006: by the client or the network).',
    'code',
    closeNumbers,
  ),
  weir_connections_kicked_total: counterOf(
    'Connections closed with 3008 because their namespace limits how far behind they may be, by reason.',
    'reason',
    ['behind', 'expired'],
  ),
  weir_connections_refused_total: counter('Upgrades refused, by reason.', 'reason'),
  weir_pings_sent_total: counter('Protocol pings sent to silent clients.'),
  weir_pings_skipped_total: counter('Pings that were due and not sent, because something was heard from the client.'),
  weir_ping_message_ratio: gauge(
    'Pings per message since the previous scrape: pings sent over messages delivered and frames received. 0 without messages.',
  ),
  weir_connections_outside: gauge('Open connections that are not let in yet, silent ones included.'),
  weir_admission_waiting: gauge('Clients that wait to be let in.'),
  weir_admissions_total: counter(
    'Clients that were let in or told to come later (outcome admitted, refused), by class (resume, authenticated, anonymous).',
    'class',
    'outcome',
  ),
  weir_admission_wait_seconds: histogram(SECONDS, 'Time from `connect` until the client was let in.'),
  weir_limited_total: counterOf(
    'Commands, requests and connections refused because of a limit, by reason.',
    'reason',
    LIMIT_REASONS,
  ),
  weir_limits_alone_total: counterOf(
    'Times a limit over all nodes was held on this node alone, because the broker did not answer, by limit.',
    'limit',
    ['user_connections', 'user_publishes', 'ip_connections', 'ip_publishes'],
  ),
  weir_subscriptions: gauge('Subscriptions of all connections.'),
  weir_channels: gauge('Channels with at least one subscription on this node.'),

  weir_sessions_saved_total: counter('Sessions written to the broker, renewals of their lease included.'),
  weir_sessions_claimed_total: counterOf(
    'Connects that named a session, by outcome (unknown: none of this client, or expired; unavailable: the broker did not answer in time).',
    'outcome',
    ['continued', 'unknown', 'unavailable'],
  ),
  weir_subscriptions_restored_total: counter('Subscriptions that came back with a session.'),
  weir_sessions_taken_over_total: counter('Connections closed because a newer one continues their session.'),
  weir_sessions_handed_over_total: counter('Sessions that a connection asked to move gave to its successor.'),

  weir_moves_asked_total: counterOf('Connections asked to move, by reason.', 'reason', MOVE_REASONS),
  weir_moves_overdue_total: counterOf(
    'Connections ended because they had not moved in time, by reason.',
    'reason',
    MOVE_REASONS,
  ),
  weir_connections_moving: gauge('Connections that were asked to move, have time left and are still there.'),
  weir_moves_per_second_limit: gauge('Connections a second that this node asks to move for age or balance, at most.'),
  weir_admission_per_second: gauge('New connections a second that this node announces to be good for.'),

  weir_tokens_total: counterOf(
    'Tokens presented, by outcome (valid: verified now; known: verified before; unavailable: the keys of the issuer could not be fetched).',
    'outcome',
    ['valid', 'known', 'invalid', 'expired', 'unavailable'],
  ),
  weir_revocations: gauge('Revocations that hold by now, as this node knows them.'),
  weir_tokens_waiting: gauge('Tokens that wait for their turn to be verified.'),
  weir_token_keys: gauge('Keys of the token issuer that are known by now; 0 without jwksUrl.'),
  weir_token_key_fetches_total: counterOf('Requests for the keys of the token issuer, by outcome.', 'outcome', [
    'fetched',
    'failed',
  ]),

  weir_commands_total: counter('Client commands received, by type.', 'type'),
  weir_command_errors_total: counterOf('Error replies to clients, by error name.', 'name', errorNames),
  weir_frames_received_total: counter('WebSocket frames received.'),
  weir_bytes_received_total: counter('WebSocket payload bytes received.'),

  weir_publications_total: counterOf('Publications acknowledged by the broker, by source (http, client).', 'source', [
    'http',
    'client',
  ]),
  weir_publications_duplicate_total: counter('Publishes answered from a known messageId.'),
  weir_publish_errors_total: counterOf('Publishes that failed, by error name.', 'name', errorNames),
  weir_publish_duration_seconds: histogram(
    SECONDS,
    'Broker round trip of a publish that was acknowledged; failed ones are not observed.',
  ),

  weir_publications_received_total: counter('Publications received from the backplane for channels of this node.'),
  weir_deliveries_total: counter('Messages handed to sockets.'),
  weir_frames_sent_total: counter('Batch frames handed to sockets: one per channel, socket and flush.'),
  weir_bytes_sent_total: counter('Payload bytes of batch frames handed to sockets.'),
  weir_delivery_latency_seconds: histogram(
    SECONDS,
    'From acceptance by any node to the flush on this node, for the oldest publication of each flush (clock skew between nodes included).',
  ),
  weir_flush_duration_seconds: histogram(SECONDS, 'Time one flush spent sending, all slices together.'),
  weir_flushes_total: counter('Flushes of the dispatcher.'),
  weir_coalesce_delay_seconds: gauge('Longest that the newest flush could wait for further publications.'),
  weir_fanout_backlog_seconds: gauge(
    'For how long some channel has had more than one flush could take; 0 while fan-out keeps up. Counts as lag in the overload signals.',
  ),
  weir_outbox_bytes: gauge('Bytes buffered for sockets beyond the kernel, sampled at scrape.'),

  weir_ring_bytes: gauge('Bytes that channel logs keep for those who catch up.'),
  weir_connections_parked: gauge('Connections whose socket takes no more until it drains.'),
  weir_subscriptions_behind: gauge('Subscriptions that catch up, those with policy ack included.'),
  weir_catch_up_pages_total: counterOf('Pages sent to subscriptions that catch up, by source.', 'source', [
    'ring',
    'history',
  ]),
  weir_catch_up_seconds_total: counter('Time spent in turns of catch-up: work that gives way to live messages.'),
  weir_gaps_total: counterOf(
    'Gap receipts, by reason: lost once per channel, the others once per subscription that was sent one.',
    'reason',
    ['lost', 'epoch', 'expired', 'conflated', 'dropped'],
  ),
  weir_ephemeral_behind: gauge(
    'Subscriptions of ephemeral channels that receive nothing until their socket has drained.',
  ),
  weir_messages_dropped_total: counterOf(
    'Messages of ephemeral channels that a connection was not sent, by reason (behind: its socket took no more; overrun: more came than the node hands over; thinned: the node is overloaded and newer ones stand for them).',
    'reason',
    ['behind', 'overrun', 'thinned'],
  ),
  weir_heals_total: counterOf('Channels healed after missed publications, by outcome (complete, gap).', 'outcome', [
    'complete',
    'gap',
  ]),
  weir_broker_ready: gauge('1 while the broker is ready, 0 while degraded.'),
  weir_broker_interruptions_total: counter('Times the path on which publications arrive was interrupted.'),
  weir_broker_errors_total: counter('Background errors of the broker driver, by stage.', 'stage'),

  weir_http_requests_total: counter('HTTP requests, by route and status.', 'route', 'status'),
  weir_api_keys: gauge('API keys that are known by now.'),
  weir_credential_reloads_total: counterOf(
    'Times that the files of API keys and public keys were read again, by outcome (refused: they cannot be used, the node goes on with what it has).',
    'outcome',
    ['applied', 'refused'],
  ),
  weir_api_keys_refused_total: counterOf(
    'API keys refused, by reason (unknown; limited: too many unknown ones came from that address).',
    'reason',
    ['unknown', 'limited'],
  ),
  weir_http_request_duration_seconds: histogram(
    SECONDS,
    'HTTP requests from their head to the answer, by route.',
    'route',
  ),

  weir_hook_calls_total: counter(
    'Attempts to call a hook, by outcome (answered, timeout, network, status, invalid, address; without an attempt: open, full).',
    'hook',
    'outcome',
  ),
  weir_hook_retries_total: counter('Attempts beyond the first, by hook.', 'hook'),
  weir_hook_decisions_total: counter(
    'Decisions by hook (allowed, denied; without an answer: failed_open, failed_closed).',
    'hook',
    'decision',
  ),
  weir_hook_duration_seconds: histogram(SECONDS, 'Attempts to call a hook, by hook.', 'hook'),
  weir_hook_waiting: gauge('Calls that wait for one of the concurrent ones to end, by hook.', 'hook'),
  weir_hook_events_total: counterOf('Lifecycle events the application took, by event.', 'event', LIFECYCLE_TYPES),
  weir_hook_events_lost_total: counter(
    'Lifecycle events that could not be kept, as the application was told; a loss nobody can count is 1.',
  ),
  weir_hook_events_backlog: gauge('Lifecycle events in the broker that the application has not taken yet.'),
  weir_hook_events_backlog_age_seconds: gauge('How long the oldest of them has been there.'),
  weir_hook_events_unwritten: gauge('Lifecycle events of this node that are not in the broker yet.'),
  weir_hook_breaker_open: gauge('1 while a hook is not called because it failed too often in a row, by hook.', 'hook'),

  weir_event_loop_lag_seconds: gauge(
    'Event-loop delay since the previous scrape, by quantile (p50, p99, max).',
    'quantile',
  ),
  weir_event_loop_utilization: gauge('Share of the last 100 ms in which the event loop was busy, 0 to 1.'),
  weir_overload_level: gauge('Rungs of the overload ladder that are engaged, 0 to 8.'),
  weir_overload_rung: gauge('1 while the rung is engaged and the signal is a reason, else 0.', 'rung', 'reason'),
  weir_overload_engaged_total: counter(
    'Times a rung was engaged, by rung and the signals that pressed.',
    'rung',
    'reason',
  ),
  weir_overload_released_total: counter('Times a rung was released.', 'rung'),
  weir_overload_changed_timestamp_seconds: gauge(
    'When each rung was engaged and released last, Unix time; nothing before the first time.',
    'rung',
    'change',
  ),
  weir_overload_signal_ratio: gauge(
    'Signals of overload as a share of their threshold: from 1 on one presses.',
    'signal',
  ),
  weir_overload_refusals_total: counter(
    'Connections and publishes turned away and idle connections asked to leave, by the rung that did it; publish_bound: too many publications under way, on whatever rung.',
    'rung',
  ),
  weir_memory_budget_bytes: gauge('Configured budget for the sum of all parts of weir_budget_bytes.'),
  weir_budget_bytes: gauge(
    'What counts against the memory budget, by part: outboxes with the most each ever held, rings, requests, pages, ephemeral messages that wait, inbound (reserved for what arrives in pieces), closing (outboxes of sockets that were told to end).',
    'part',
  ),
  weir_inbound_worst_bytes: gauge(
    'What open connections could make the node keep of unfinished messages and heads; more than the part inbound of weir_budget_bytes is not covered.',
  ),
  weir_budget_relief_total: counterOf(
    'Measures to stay within the memory budget: rings shrunk, connections parked, to be closed with 3008, of these (and of the kicked) cut because they did not drain, requests refused.',
    'measure',
    ['rings', 'parked', 'closed', 'cut', 'refused'],
  ),
} as const satisfies Record<string, MetricDeclaration>;

export type MetricName = keyof typeof metricDeclarations;

const knownCloseNumbers = new Set(closeNumbers);

/** The label of a close code: clients may send any of thousands, and each label is a time series for ever. */
export const closeCodeLabel = (code: number): string => {
  const text = String(code);
  if (knownCloseNumbers.has(text)) return text;
  return code >= 4000 && code <= 4999 ? '4xxx' : 'other';
};
