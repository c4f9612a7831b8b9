// From parsed JSON bodies and query strings to typed HTTP requests, or to problems that name what is wrong.
import { Kind, type Static, type TObject } from '@sinclair/typebox';
import { channelSchema } from './fields.ts';
import {
  type ChannelsQuery,
  channelsQuerySchema,
  type DrainBody,
  drainBodySchema,
  type HistoryQueryParameters,
  historyQuerySchema,
  type PublishBody,
  publishBodySchema,
} from './http.ts';
import { expectationOf, showValue } from './expectation.ts';
import { MAX_BATCH_COMMANDS, MAX_PUBLISH_CHANNELS } from './limits.ts';
import { createValidator, type Problem, type Validation, type Validator } from './validate.ts';

export interface RefusedRequest {
  readonly kind: 'invalid';
  /** `limitExceeded` (413) when a list is over its bound, `unknownCommand` (404) for an unknown batch command, else `badRequest` (422). */
  readonly error: 'badRequest' | 'limitExceeded' | 'unknownCommand';
  readonly problems: readonly Problem[];
}
export type ParsedRequest<T> = { readonly kind: 'valid'; readonly value: T } | RefusedRequest;

export const refuse = (error: RefusedRequest['error'], problems: readonly Problem[]): RefusedRequest => ({
  kind: 'invalid',
  error,
  problems,
});

const fieldOf = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;

const publishValidator = createValidator(publishBodySchema);
const { check: isChannel } = createValidator(channelSchema);

const tooMany = (path: string, what: string, limit: number, items: readonly unknown[]): RefusedRequest =>
  refuse('limitExceeded', [{ path, expected: `at most ${limit} ${what}`, got: `${items.length}` }]);

/** Exactly one of `channel` and `channels`. */
const namesOneTarget = (body: Static<typeof publishBodySchema>): body is PublishBody =>
  (body.channel === undefined) !== (body.channels === undefined);

/** Body of `POST /v1/publish`. Never throws. */
export const parsePublish = (body: unknown): ParsedRequest<PublishBody> => {
  if (publishValidator.check(body) && namesOneTarget(body)) return { kind: 'valid', value: body };
  const channels = fieldOf(body, 'channels');
  if (Array.isArray(channels) && channels.length > MAX_PUBLISH_CHANNELS) {
    return tooMany('channels', 'channels', MAX_PUBLISH_CHANNELS, channels);
  }
  const result = publishValidator.validate(body);
  if (result.kind === 'invalid') return refuse('badRequest', result.problems);
  const got = result.value.channel === undefined ? 'neither' : 'both';
  return refuse('badRequest', [{ path: 'channel', expected: 'exactly one of channel and channels', got }]);
};

/** One item of a batch, in the order of the request: an item at fault does not affect the others. */
export type BatchItem = { readonly kind: 'publish'; readonly publish: PublishBody } | RefusedRequest;

const prefixed = (index: number, problems: readonly Problem[]): readonly Problem[] =>
  problems.map((problem) => ({
    ...problem,
    path: problem.path === '' ? `commands[${index}].publish` : `commands[${index}].publish.${problem.path}`,
  }));

const parseBatchItem = (command: unknown, index: number): BatchItem => {
  const publish = fieldOf(command, 'publish');
  if (publish === undefined) {
    const isOther =
      typeof command === 'object' && command !== null && !Array.isArray(command) && Object.keys(command).length > 0;
    return refuse(isOther ? 'unknownCommand' : 'badRequest', [
      { path: `commands[${index}]`, expected: '{publish: {…}}', got: showValue(command) },
    ]);
  }
  const result = parsePublish(publish);
  return result.kind === 'valid'
    ? { kind: 'publish', publish: result.value }
    : refuse(result.error, prefixed(index, result.problems));
};

/** Body of `POST /v1/batch`: the envelope is refused as a whole, a wrong command only by itself. Never throws. */
export const parseBatch = (body: unknown): ParsedRequest<readonly BatchItem[]> => {
  const commands = fieldOf(body, 'commands');
  if (!Array.isArray(commands) || commands.length === 0) {
    const got = showValue(commands);
    return refuse('badRequest', [
      { path: 'commands', expected: `array of 1-${MAX_BATCH_COMMANDS} commands {publish: {…}}`, got },
    ]);
  }
  if (commands.length > MAX_BATCH_COMMANDS) return tooMany('commands', 'commands', MAX_BATCH_COMMANDS, commands);
  return { kind: 'valid', value: commands.map(parseBatchItem) };
};

const drainValidator = createValidator(drainBodySchema);

/** Body of `POST /v1/drain`. Never throws. */
export const parseDrain = (body: unknown): ParsedRequest<DrainBody> => {
  const result = drainValidator.validate(body);
  return result.kind === 'valid' ? result : refuse('badRequest', result.problems);
};

/** Channel name of a path, already percent-decoded. */
export const parseChannel = (channel: string): ParsedRequest<string> =>
  isChannel(channel)
    ? { kind: 'valid', value: channel }
    : refuse('badRequest', [{ path: 'channel', expected: expectationOf(channelSchema), got: showValue(channel) }]);

const coerce = (kind: string, text: string): unknown => {
  if (kind === 'Integer' && /^\d{1,16}$/.test(text)) return Number(text);
  if (kind === 'Boolean' && (text === 'true' || text === '1')) return true;
  if (kind === 'Boolean' && (text === 'false' || text === '0')) return false;
  return text;
};

/** Parameters that the schema does not name are ignored; of a repeated one the last counts. */
export const readQuery = <T>(
  schema: TObject,
  validator: Validator<T>,
  parameters: Iterable<readonly [string, string]>,
): Validation<T> => {
  const query: Record<string, unknown> = {};
  for (const [name, text] of parameters) {
    if (!Object.hasOwn(schema.properties, name)) continue;
    query[name] = coerce(schema.properties[name]![Kind], text);
  }
  return validator.validate(query);
};

const channelsQueryValidator = createValidator(channelsQuerySchema);
const historyQueryValidator = createValidator(historyQuerySchema);

/** Query of `GET /v1/channels`; an empty `cursor` means the first page. Takes a `URLSearchParams` as it is. */
export const parseChannelsQuery = (parameters: Iterable<readonly [string, string]>): ParsedRequest<ChannelsQuery> => {
  const result = readQuery(channelsQuerySchema, channelsQueryValidator, parameters);
  return result.kind === 'valid' ? result : refuse('badRequest', result.problems);
};

/** Query of `GET /v1/channels/{channel}/history`; `since_epoch` and `since_offset` come together or not at all. */
export const parseHistoryQuery = (
  parameters: Iterable<readonly [string, string]>,
): ParsedRequest<HistoryQueryParameters> => {
  const result = readQuery(historyQuerySchema, historyQueryValidator, parameters);
  if (result.kind === 'invalid') return refuse('badRequest', result.problems);
  const { since_epoch: epoch, since_offset: offset } = result.value;
  if ((epoch === undefined) === (offset === undefined)) return result;
  const path = epoch === undefined ? 'since_epoch' : 'since_offset';
  return refuse('badRequest', [{ path, expected: 'since_epoch and since_offset together', got: 'nothing' }]);
};
