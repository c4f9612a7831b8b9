// Runs one client command and sends its reply: exactly one per id, whatever happens.
import type { Command } from '../../../protocol/commands.ts';
import type { Reply } from '../../../protocol/replies.ts';
import { Failure } from '../../failure.ts';
import type { Connection } from '../connection.ts';
import type { SessionServices } from '../services.ts';
import { handleConnect } from './connect.ts';
import { handleHistory } from './history.ts';
import { handlePing } from './ping.ts';
import { handlePublish } from './publish.ts';
import { handleSubscribe } from './subscribe.ts';
import { handleUnsubscribe } from './unsubscribe.ts';

const perform = (connection: Connection, command: Command, services: SessionServices): Reply | Promise<Reply> => {
  switch (command.type) {
    case 'connect':
      return handleConnect(connection, command, services);
    case 'subscribe':
      return handleSubscribe(connection, command, services);
    case 'unsubscribe':
      return handleUnsubscribe(connection, command, services);
    case 'publish':
      return handlePublish(connection, command, services);
    case 'history':
      return handleHistory(connection, command, services);
    case 'ping':
      return handlePing();
    case 'refresh':
    case 'presence':
    case 'ack':
    case 'rpc':
      throw new Failure('notAvailable', `${command.type} is not available on this node`);
  }
};

/** `connect` may be omitted where anonymous clients are allowed: the first other command stands for it. */
const ensureConnected = (connection: Connection, command: Command, services: SessionServices): void => {
  if (connection.state !== 'open' || command.type === 'connect') return;
  if (!services.settings.anonymous) throw new Failure('unauthorized', 'connect first: this node expects a token');
  connection.state = 'connected';
};

export const runCommand = (connection: Connection, command: Command, services: SessionServices): void => {
  const { id } = command;
  services.metrics.count('weir_commands_total', { type: command.type });
  try {
    ensureConnected(connection, command, services);
    const result = perform(connection, command, services);
    if (result instanceof Promise) {
      result.then(
        (reply) => reply.type !== 'error' && id !== undefined && connection.send({ ...reply, id }),
        (thrown: unknown) => connection.replyFailure(id, thrown),
      );
    } else if (id !== undefined) connection.send({ ...result, id });
  } catch (thrown) {
    connection.replyFailure(id, thrown);
  }
};
