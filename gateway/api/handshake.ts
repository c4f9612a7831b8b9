// Decides about a WebSocket handshake before the upgrade: rules of RFC 6455, host, origin, sub-protocol, room on the node.
import type { OriginDecision } from '../access/origin.ts';
import { problem, wrongHost } from './answers.ts';
import { WEIR_SUBPROTOCOL } from '../dialects/weir.ts';
import type { MetricsRegistry } from '../observability/registry.ts';
import type { HttpAnswer } from '../transports/http.ts';
import { type HandshakeFault, handshakeFault, WEBSOCKET_VERSION } from '../transports/handshake-rules.ts';
import type { Handshake, HandshakeDecision } from '../transports/websocket.ts';

export interface HandshakeOptions {
  /** Whether the node answers for the name in `Host`; undefined: for every name. */
  readonly acceptsHost: ((host: string) => boolean) | undefined;
  readonly checkOrigin: (origin: string | undefined) => OriginDecision;
  readonly clientAddress: (remoteAddress: string, realIp: string) => string;
  readonly metrics: MetricsRegistry;
  /** Why no connection can be taken now, and when to try again; undefined when there is room. */
  readonly refusal: () =>
    | { readonly reason: 'full' | 'crowded' | 'starting' | 'draining' | 'stopped'; readonly retryAfterMs: number }
    | undefined;
}

const EXPECTED: Readonly<Record<HandshakeFault, string>> = {
  upgrade: 'Upgrade: expected websocket',
  connection: 'Connection: expected Upgrade',
  version: `Sec-WebSocket-Version: expected ${WEBSOCKET_VERSION}`,
  key: 'Sec-WebSocket-Key: expected 16 bytes in base64',
  subprotocol: 'Sec-WebSocket-Protocol: expected a list of different names',
  extensions: 'Sec-WebSocket-Extensions: expected a list of extensions as in RFC 6455 §9.1',
};

const faultAnswer = (fault: HandshakeFault): HttpAnswer =>
  fault === 'version'
    ? problem('badRequest', EXPECTED.version, { status: 426 }, { 'sec-websocket-version': WEBSOCKET_VERSION })
    : problem('badRequest', EXPECTED[fault], { status: 400 });

export const createHandshakeCheck = (options: HandshakeOptions): ((handshake: Handshake) => HandshakeDecision) => {
  const { acceptsHost, checkOrigin, clientAddress, metrics, refusal } = options;
  const refuse = (reason: string, answer: HttpAnswer): HandshakeDecision => {
    metrics.count('weir_connections_refused_total', { reason });
    return { kind: 'refuse', answer };
  };
  return (handshake) => {
    const { host, origin, subprotocols, remoteAddress, realIpHeader } = handshake;
    const fault = handshakeFault(handshake);
    if (fault !== undefined) return refuse(fault, faultAnswer(fault));
    if (acceptsHost?.(host) === false) return refuse('host', wrongHost());
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
