// What may be told of an error of the Redis client: text, stack and codes, never the command that failed.
//
// ioredis hangs `command: { name, args }` on errors. The arguments of AUTH are user and password, those of others hold
// channels and bodies, and a logger copies every property it finds.

/** Codes of the system, on errors of sockets. */
const KEPT_PROPERTIES = ['code', 'errno', 'syscall', 'address', 'port'] as const;

/** Redis quotes the arguments of a command it does not know, also those of an AUTH that was renamed. */
const withoutQuotedArguments = (text: string): string =>
  text.replace(/(with args beginning with:).*/g, '$1 (withheld)');

/** A copy that may be logged and passed on; the same for its causes. */
export const driverError = (thrown: unknown): Error => {
  if (!(thrown instanceof Error)) return new Error(withoutQuotedArguments(String(thrown)));
  const { code } = thrown as NodeJS.ErrnoException;
  // An address that resolves to several fails with an error without text.
  const message = thrown.message || (code ?? thrown.name);
  const options = thrown.cause === undefined ? undefined : { cause: driverError(thrown.cause) };
  const error = new Error(withoutQuotedArguments(message), options);
  Object.defineProperty(error, 'name', { value: thrown.name, configurable: true, writable: true });
  if (thrown.stack !== undefined) error.stack = withoutQuotedArguments(thrown.stack);
  for (const property of KEPT_PROPERTIES) {
    const value = (thrown as NodeJS.ErrnoException & { readonly address?: unknown; readonly port?: unknown })[property];
    if (typeof value === 'string' || typeof value === 'number') Object.assign(error, { [property]: value });
  }
  return error;
};
