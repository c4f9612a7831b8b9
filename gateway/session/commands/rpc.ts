// `rpc`: a method of the application, answered by its backend.
import type { CommandHandler } from '../command-handler.ts';

export const handleRpc: CommandHandler<'rpc'> = async (connection, { method, data }, { hooks }) => ({
  type: 'result',
  data: (await hooks.rpc(connection.asker, { method, data })) ?? null,
});
