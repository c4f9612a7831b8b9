// From a parsed JSON value to a typed command, or to the error its sender gets.
import { type Command, type CommandType, commandSchemas } from './commands.ts';
import { showValue } from './expectation.ts';
import { idSchema } from './fields.ts';
import { createValidator, describeProblems, type Validator } from './validate.ts';

export type CommandParse =
  | { readonly kind: 'command'; readonly command: Command }
  | {
      readonly kind: 'error';
      /** The command's id when it had a valid one: the error is then a reply. */
      readonly id?: number;
      readonly error: 'badRequest' | 'unknownCommand';
      readonly message: string;
    };

const validators: ReadonlyMap<unknown, Validator<Command>> = new Map(
  (Object.keys(commandSchemas) as CommandType[]).map((type) => [type, createValidator(commandSchemas[type])]),
);
const { check: isId } = createValidator(idSchema);

const refuse = (id: unknown, error: 'badRequest' | 'unknownCommand', message: string): CommandParse =>
  isId(id) ? { kind: 'error', id, error, message } : { kind: 'error', error, message };

/** Never throws, whatever the value; a valid command costs one map look-up and one compiled check. */
export const parseCommand = (value: unknown): CommandParse => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return refuse(undefined, 'badRequest', `expected a command object, got ${showValue(value)}`);
  }
  const { type, id } = value as { type?: unknown; id?: unknown };
  const validator = validators.get(type);
  if (validator === undefined) {
    return typeof type === 'string'
      ? refuse(id, 'unknownCommand', `no command is named ${showValue(type)}`)
      : refuse(id, 'badRequest', `type: expected the name of a command, got ${showValue(type)}`);
  }
  const result = validator.validate(value);
  return result.kind === 'valid'
    ? { kind: 'command', command: result.value }
    : refuse(id, 'badRequest', describeProblems(result.problems));
};
