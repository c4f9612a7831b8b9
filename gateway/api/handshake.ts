// Decides about a WebSocket handshake before the upgrade: version, origin, sub-protocol, room on the node.
import type { OriginDecision } from '../access/origin.ts';
import { problem } from './answers.ts';
import { WEIR_SUBPROTOCOL } from '../dialects/weir.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { HttpAnswer } from '../transports/http.ts';
import type { Handshake, HandshakeDecision } from '../transports/websocket.ts';

export interface HandshakeOptions {
  readonly checkOrigin: (origin: string | undefined) => OriginDecision;
  readonly clientAddress: (remoteAddress: string, realIp: string) => string;
  readonly metrics: MetricsRegistry;
  /** Why no connection can be taken now, and when to try again; undefined when there is room. */
  readonly refusal: () =>
    | { readonly reason: 'full' | 'crowded' | 'starting' | 'draining' | 'stopped'; readonly retryAfterMs: number }
    | undefined;
}

/** RFC 6455 §4.2.1: the only version there is. */
const VERSION = '13';

export const createHandshakeCheck = (options: HandshakeOptions): ((handshake: Handshake) => HandshakeDecision) => {
  const { checkOrigin, clientAddress, metrics, refusal } = options;
  const refuse = (reason: string, answer: HttpAnswer): HandshakeDecision => {
    metrics.count('weir_connections_refused_total', { reason });
    return { kind: 'refuse', answer };
  };
  return ({ origin, subprotocols, remoteAddress, realIpHeader, version, upgrade }) => {
    if (upgrade.toLowerCase() !== 'websocket') {
      return refuse('upgrade', problem('badRequest', 'Upgrade: expected websocket', { status: 400 }));
    }
    if (version !== VERSION) {
      const detail = `Sec-WebSocket-Version: expected ${VERSION}`;
      return refuse('version', problem('badRequest', detail, { status: 426 }, { 'sec-websocket-version': VERSION }));
    }
    if (checkOrigin(origin === '' ? undefined : origin) === 'refused') {
      return refuse('origin', problem('permissionDenied', 'Origin: this page may not connect'));
    }
    if (subprotocols.length > 0 && !subprotocols.includes(WEIR_SUBPROTOCOL)) {
      const detail = `Sec-WebSocket-Protocol: expected an offer with ${WEIR_SUBPROTOCOL}`;
      return refuse('subprotocol', problem('badRequest', detail, { status: 400 }));
    }
    const refused = refusal();
    if (refused !== undefined) {
      const { reason, retryAfterMs } = refused;
      return refuse(reason, problem('overloaded', `the node is ${reason}`, { status: 503, retryAfterMs }));
    }
    const subprotocol = subprotocols.length > 0 ? WEIR_SUBPROTOCOL : undefined;
    return { kind: 'accept', subprotocol, address: clientAddress(remoteAddress, realIpHeader) };
  };
};
