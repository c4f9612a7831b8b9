// What both control servers share: publish bodies as Weir takes them, and messages of the same JSON as Weir sends.
export interface Publication {
  readonly channel: string;
  /** JSON text as it goes into the message. */
  readonly data: string;
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

const publicationOf = (value: unknown): Publication => {
  if (!isRecord(value) || typeof value['channel'] !== 'string' || value['data'] === undefined) {
    throw new TypeError('expected {channel, data}');
  }
  return { channel: value['channel'], data: JSON.stringify(value['data']) };
};

/** The body of `POST /v1/publish` or `POST /v1/batch`; throws on any other shape. */
export const readPublications = (path: string, body: string): readonly Publication[] => {
  const value: unknown = JSON.parse(body);
  if (path === '/v1/publish') return [publicationOf(value)];
  if (!isRecord(value) || !Array.isArray(value['commands'])) throw new TypeError('expected {commands}');
  return value['commands'].map((command: unknown) => publicationOf(isRecord(command) ? command['publish'] : undefined));
};

/** Numbers publications per channel, so that the load generator can prove that nothing is missing. */
export const createNumbering = () => {
  const heads = new Map<string, number>();
  return {
    head: (channel: string): number => heads.get(channel) ?? 0,
    next: (channel: string): number => {
      const offset = (heads.get(channel) ?? 0) + 1;
      heads.set(channel, offset);
      return offset;
    },
  };
};

export type Numbering = ReturnType<typeof createNumbering>;

/** Hands each publication to `deliver` as a ready message and answers what Weir would answer. */
export const publishAll = (
  path: string,
  body: string,
  numbering: Numbering,
  deliver: (channel: string, message: string) => void,
): string => {
  const results = readPublications(path, body).map(({ channel, data }) => {
    const offset = numbering.next(channel);
    deliver(
      channel,
      `{"type":"message","channel":"${channel}","offset":${offset},"data":${data},"time":${Date.now()}}`,
    );
    return `{"channel":"${channel}","epoch":"control","offset":${offset},"duplicate":false}`;
  });
  return path === '/v1/publish' ? (results[0] ?? '') : `{"results":[${results.join(',')}]}`;
};

/** Answers one command frame; `subscribe` is called for each subscription. */
export const answerCommand = (text: string, numbering: Numbering, subscribe: (channel: string) => void): string => {
  const command: unknown = JSON.parse(text);
  const id = isRecord(command) && typeof command['id'] === 'number' ? command['id'] : 0;
  if (!isRecord(command) || command['type'] !== 'subscribe') return `{"id":${id},"type":"connected"}`;
  const channel = String(command['channel']);
  subscribe(channel);
  const offset = numbering.head(channel);
  return `{"id":${id},"type":"subscribed","channel":"${channel}","epoch":"control","offset":${offset},"recovered":true,"policy":"all"}`;
};
