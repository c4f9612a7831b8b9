// The custom k6 metrics of the load scenarios, each created once.
import { Counter, Rate, Trend } from 'k6/metrics';

/** From the call of the WebSocket constructor to the `connected` reply, in milliseconds. */
export const connectTime = new Trend('weir_connect_time', true);
/** From sending `subscribe` to the `subscribed` reply, in milliseconds. */
export const subscribeTime = new Trend('weir_subscribe_time', true);
/** From just before the publisher's HTTP request to the subscriber's handler, one clock, in milliseconds. */
export const deliveryLatency = new Trend('weir_delivery_latency', true);

/** How late a timer of a virtual user fires, in milliseconds: high means that k6, not the cluster, was the bottleneck. */
export const generatorLag = new Trend('weir_generator_lag', true);

/** Share of sockets that were connected and subscribed. */
export const subscribedRate = new Rate('weir_subscribed');
/** Share of publications answered with a position. */
export const publishedRate = new Rate('weir_published');

/** Sockets that were connected and subscribed, over all rounds. */
export const socketsSubscribed = new Counter('weir_sockets_subscribed');
export const messagesReceived = new Counter('weir_messages_received');
export const messagesMissing = new Counter('weir_messages_missing');
export const messagesDuplicate = new Counter('weir_messages_duplicate');
export const messagesReordered = new Counter('weir_messages_reordered');
/** Offsets named by gap receipts: not lost in silence, yet not delivered. */
export const offsetsReceipted = new Counter('weir_offsets_receipted');
/** Sockets that saw the end of their channel with nothing before it missing. */
export const subscribersComplete = new Counter('weir_subscribers_complete');
/** Sockets closed by the other side before the scenario was done with them; tagged by close code. */
export const unexpectedCloses = new Counter('weir_unexpected_closes');
/** `error` messages from the server; tagged by name. */
export const serverErrors = new Counter('weir_server_errors');
/** Connections the cluster still counts after every socket of the run was closed. */
export const connectionsLeft = new Counter('weir_connections_left');

// k6 skips a threshold whose metric never got a sample, so a run in which nothing happened would pass; a zero makes it judged.
const judgedCounters = [
  socketsSubscribed,
  messagesReceived,
  messagesMissing,
  messagesDuplicate,
  messagesReordered,
  subscribersComplete,
  unexpectedCloses,
  serverErrors,
  connectionsLeft,
];

/** Gives every counter a first sample; call it in each scenario's `setup`. */
export function startCounters(): void {
  for (const counter of judgedCounters) counter.add(0);
}
