// Control: uWebSockets.js with a native topic per channel and `app.publish`, and nothing else.
import uWS from 'uWebSockets.js';
import { answerCommand, createNumbering, publishAll } from './publications.ts';

const port = Number(process.argv[2]);
const numbering = createNumbering();
const app = uWS.App();

app.ws('/v1/ws', {
  // Large enough that publish never drops for a reader that keeps up on average.
  maxBackpressure: 64 * 1024 * 1024,
  maxPayloadLength: 64 * 1024,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  message: (ws, message) => {
    ws.send(
      answerCommand(Buffer.from(message).toString(), numbering, (channel) => {
        ws.subscribe(channel);
      }),
    );
  },
});

const publish = (path: string) => (res: uWS.HttpResponse) => {
  let body = '';
  let isAborted = false;
  res.onAborted(() => {
    isAborted = true;
  });
  res.onData((chunk, isLast) => {
    body += Buffer.from(chunk).toString();
    if (!isLast || isAborted) return;
    const answer = publishAll(path, body, numbering, (channel, message) => {
      app.publish(channel, message);
    });
    res.cork(() => {
      res.end(answer);
    });
  });
};
app.post('/v1/publish', publish('/v1/publish'));
app.post('/v1/batch', publish('/v1/batch'));
app.get('/health/*', (res) => {
  res.end('{}');
});

app.listen('127.0.0.1', port, (socket) => {
  if (socket === false) {
    process.stderr.write(`cannot listen on port ${port}\n`);
    process.exit(1);
  }
});
