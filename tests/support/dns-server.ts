// A name server that answers for one name with the addresses a test gives it (RFC 1035, UDP, A records only).
import { createSocket } from 'node:dgram';

export interface DnsServer extends AsyncDisposable {
  /** `127.0.0.1:<port>` */
  readonly nameserver: string;
  /** The addresses of the name from now on; `nxdomain`: there is no such name; `silent`: no answer at all. */
  answer(with_: readonly string[] | 'nxdomain' | 'silent'): void;
  /** Questions that arrived since the start, answered or not. */
  asked(): number;
  stop(): Promise<void>;
}

const HEADER_BYTES = 12;
const TYPE_A = 1;
const CLASS_IN = 1;
const RESPONSE_RECURSIVE = 0x81_80;
const NXDOMAIN = 3;
const TTL_S = 1;
/** Points to the name in the question. */
const NAME_OF_QUESTION = 0xc0_0c;

/** End of the question that begins after the header, and the type it asks for. */
function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function record(address: string): Buffer {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt16BE(NAME_OF_QUESTION, 0);
  bytes.writeUInt16BE(TYPE_A, 2);
  bytes.writeUInt16BE(CLASS_IN, 4);
  bytes.writeUInt32BE(TTL_S, 6);
  bytes.writeUInt16BE(4, 10);
  for (const [i, part] of address.split('.').entries()) bytes.writeUInt8(Number(part), 12 + i);
  return bytes;
}

export async function startDnsServer(name: string): Promise<DnsServer> {
  let current: readonly string[] | 'nxdomain' | 'silent' = 'nxdomain';
  let asked = 0;
  const socket = createSocket('udp4', (message, { address, port }) => {
    asked += 1;
    if (current === 'silent' || message.length < HEADER_BYTES + 5) return;
    const question = readQuestion(message);
    const isKnown = question.name === name.toLowerCase() && current !== 'nxdomain';
    const records = isKnown && current !== 'nxdomain' && question.type === TYPE_A ? current.map(record) : [];
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt16BE(message.readUInt16BE(0), 0);
    header.writeUInt16BE(RESPONSE_RECURSIVE | (isKnown ? 0 : NXDOMAIN), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    socket.send(Buffer.concat([header, message.subarray(HEADER_BYTES, question.end), ...records]), port, address);
  });
  await new Promise<void>((resolve) => {
    socket.bind(0, '127.0.0.1', resolve);
  });
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      socket.close(() => {
        resolve();
      });
    });
  return {
    nameserver: `127.0.0.1:${socket.address().port}`,
    answer: (with_) => {
      current = with_;
    },
    asked: () => asked,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
