// Signs calls of hooks as Standard Webhooks say, so that backends can check them with libraries that exist.
import { createHmac } from 'node:crypto';

const ENCODED_SECRET = 'whsec_';

/** The bytes of a secret: Base64 behind `whsec_`, else the text itself. */
const keyOf = (secret: string): Buffer =>
  secret.startsWith(ENCODED_SECRET) ? Buffer.from(secret.slice(ENCODED_SECRET.length), 'base64') : Buffer.from(secret);

/** @param timestampS Unix time, s */
export const signatureOf = (secret: string, id: string, timestampS: number, body: Buffer): string =>
  `v1,${createHmac('sha256', keyOf(secret)).update(`${id}.${timestampS}.`).update(body).digest('base64')}`;

/** Headers of one attempt; a retry has the same id and another time. */
export const signedHeaders = (
  secret: string,
  id: string,
  timestampS: number,
  body: Buffer,
): Readonly<Record<string, string>> => ({
  'webhook-id': id,
  'webhook-timestamp': String(timestampS),
  'webhook-signature': signatureOf(secret, id, timestampS, body),
});
