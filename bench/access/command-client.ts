// A client that gives many commands at once and knows when all of them are answered.
import { WebSocket } from 'ws';
import { MAX_COMMANDS_PER_FRAME } from '../../protocol/limits.ts';

export interface CommandClient {
  /** Resolves with the last answer; rejects with the first error, or when the connection ends before. */
  run(commands: readonly Readonly<Record<string, unknown>>[]): Promise<void>;
  close(): void;
}

interface Awaited {
  left: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export const openCommandClient = async (url: string, token: string): Promise<CommandClient> => {
  const socket = new WebSocket(url, ['weir.v1.json'], { perMessageDeflate: false });
  let awaited: Awaited | undefined;
  let id = 0;

  const handle = (message: { readonly id?: number; readonly type: string; readonly message?: string }): void => {
    if (message.type === 'error') awaited?.reject(new Error(message.message));
    else if (message.id !== undefined && awaited !== undefined && --awaited.left === 0) awaited.resolve();
  };
  socket.on('message', (bytes: Buffer) => {
    const frame = JSON.parse(bytes.toString()) as Parameters<typeof handle>[0] | Parameters<typeof handle>[0][];
    for (const message of Array.isArray(frame) ? frame : [frame]) handle(message);
  });
  socket.on('close', (code) => awaited?.reject(new Error(`the connection ended with ${code}`)));

  const run: CommandClient['run'] = (commands) =>
    new Promise((resolve, reject) => {
      awaited = { left: commands.length, resolve, reject };
      for (let start = 0; start < commands.length; start += MAX_COMMANDS_PER_FRAME) {
        const frame = commands
          .slice(start, start + MAX_COMMANDS_PER_FRAME)
          .map((command) => ({ ...command, id: ++id }));
        socket.send(JSON.stringify(frame));
      }
    });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  await run([{ type: 'connect', token }]);
  return { run, close: () => socket.terminate() };
};
