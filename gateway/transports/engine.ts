// uWebSockets.js behind one import: checks that its binary fits this process, and listens exclusively.
import './header-bound.ts';
import type { InboundReserve } from './inbound-reserve.ts';
import uWS, { type TemplatedApp, type us_listen_socket } from 'uWebSockets.js';

export type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from 'uWebSockets.js';

/** Files of a TLS listener, checked before: the engine only says that they are wrong. */
export interface Tls {
  readonly certFile: string;
  readonly keyFile: string;
  readonly passphrase: string | undefined;
}

/** With forward secrecy and authenticated encryption; TLS 1.3 has its own. The engine takes nothing older than TLS 1.2. */
const TLS_1_2_CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
].join(':');

/** Serves plain HTTP, or HTTPS when there are files for it. */
export const createApp = (tls?: Tls): TemplatedApp =>
  tls === undefined
    ? uWS.App()
    : uWS.SSLApp({
        cert_file_name: tls.certFile,
        key_file_name: tls.keyFile,
        ...(tls.passphrase !== undefined && { passphrase: tls.passphrase }),
        ssl_ciphers: TLS_1_2_CIPHERS,
      });

/**
 * Counts the TCP connections of a listener that are no WebSocket, and cuts those beyond `max`: they have said nothing yet, and the
 * head they begin would be kept. The engine itself ends one without a whole head after 10 s.
 */
export const boundHttpSockets = (
  app: TemplatedApp,
  inbound: Pick<InboundReserve, 'httpSockets' | 'handleHttp'>,
  { max, onRefused }: { readonly max: number; readonly onRefused: () => void },
): void =>
  void app.filter((res, more) => {
    inbound.handleHttp(more === 1 ? 'opened' : 'closed');
    if (more !== 1 || inbound.httpSockets <= max) return;
    onRefused();
    // Comes back here as closed.
    res.close();
  });

export interface Listener {
  readonly port: number;
  /** Stops accepting; open sockets stay. */
  close(): void;
}

/** Missing in the engine's type declarations. */
interface ExclusiveListening {
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
}
type ListenExclusively = (
  host: string,
  port: number,
  options: number,
  onListening: (socket: us_listen_socket | false) => void,
) => void;

/** Rejects when the port is taken, also by a process that would share it by SO_REUSEPORT. */
export const listen = (app: TemplatedApp, host: string, port: number): Promise<Listener> =>
  new Promise((resolve, reject) => {
    const { LIBUS_LISTEN_EXCLUSIVE_PORT } = uWS as unknown as ExclusiveListening;
    const listenExclusively = app.listen.bind(app) as unknown as ListenExclusively;
    listenExclusively(host, port, LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on ${host}:${port}: the address is in use or not allowed`));
      else resolve({ port: uWS.us_socket_local_port(socket), close: () => uWS.us_listen_socket_close(socket) });
    });
  });
