// Structured logs in pino: events with stable names, no secrets, nothing per message above debug.
import { type Logger as PinoLogger, pino, type TransportSingleOptions } from 'pino';

export type Logger = PinoLogger;

export interface LoggerOptions {
  readonly level: string;
  readonly format: 'json' | 'pretty';
  readonly node: string;
}

export const createLogger = ({ level, format, node }: LoggerOptions): Logger => {
  const pretty: TransportSingleOptions = {
    target: 'pino-pretty',
    options: { ignore: 'pid,hostname,node', translateTime: 'HH:MM:ss.l', singleLine: true },
  };
  return pino({ level, base: { node, pid: process.pid }, ...(format === 'pretty' ? { transport: pretty } : {}) });
};

/** Writes whatever level the node logs at; only `silent` silences it. */
export const auditLoggerOf = (logger: Logger): Logger =>
  logger.level === 'silent' ? logger : logger.child({}, { level: 'info' });
