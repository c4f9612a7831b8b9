// Control: npm `ws` with a loop of `send` over the subscribers of a channel, as most applications do it.
import { createServer } from 'node:http';
import { type WebSocket, WebSocketServer } from 'ws';
import { answerCommand, createNumbering, publishAll } from './publications.ts';

const port = Number(process.argv[2]);
const numbering = createNumbering();
const subscribers = new Map<string, Set<WebSocket>>();

const deliver = (channel: string, message: string): void => {
  const bytes = Buffer.from(message);
  for (const socket of subscribers.get(channel) ?? []) socket.send(bytes, { binary: false });
};

const http = createServer((request, response) => {
  const path = request.url ?? '';
  if (request.method !== 'POST') {
    response.end('{}');
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    response.end(publishAll(path, Buffer.concat(chunks).toString(), numbering, deliver));
  });
});

const sockets = new WebSocketServer({ server: http, path: '/v1/ws', perMessageDeflate: false });
sockets.on('connection', (socket) => {
  const channels: string[] = [];
  socket.on('message', (message: Buffer) => {
    socket.send(
      answerCommand(message.toString(), numbering, (channel) => {
        channels.push(channel);
        const set = subscribers.get(channel) ?? new Set<WebSocket>();
        subscribers.set(channel, set.add(socket));
      }),
    );
  });
  socket.on('close', () => {
    for (const channel of channels) subscribers.get(channel)?.delete(socket);
  });
  // A reset connection is followed by 'close'.
  socket.on('error', () => undefined);
});

http.listen(port, '127.0.0.1', 4096);
