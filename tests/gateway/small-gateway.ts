// A gateway with small limits, as the suites of hostile input use it: after every test it lives and holds nothing.
import { API_KEY, type GatewayUnderTest, startGatewayUnderTest } from './gateway-under-test.ts';

export const MAX_FRAME_BYTES = 16 * 1024;
export const MAX_BODY_BYTES = 64 * 1024;
export const MAX_SUBSCRIPTIONS = 100;
export const MAX_CONNECTIONS = 40;
export const READER_KEY = 'reader-key-of-the-test-0123456789';
export const NARROW_KEY = 'narrow-key-of-the-test-0123456789';

export const startSmallGateway = (): Promise<GatewayUnderTest> =>
  startGatewayUnderTest({
    WEIR_MAX_FRAME_BYTES: String(MAX_FRAME_BYTES),
    WEIR_MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    WEIR_MAX_SUBSCRIPTIONS: String(MAX_SUBSCRIPTIONS),
    WEIR_MAX_CONNECTIONS: String(MAX_CONNECTIONS),
    WEIR_CONNECT_DEADLINE_MS: '2000',
    WEIR_REQUEST_TIMEOUT_MS: '400',
    WEIR_MAX_OUTBOX_BYTES: String(64 * 1024),
    WEIR_API_KEYS: `dev=${API_KEY},reader=${READER_KEY}:read,narrow=${NARROW_KEY}:publish`,
  });

/**
 * Resolves with the gateway for the next test: the same, or a fresh one when this one ended, so that the other tests
 * still say what they have to say. `failed` is why the very same process does not live or still holds something.
 */
export const settle = async (gateway: GatewayUnderTest): Promise<{ next: GatewayUnderTest; failed?: Error }> => {
  await gateway.giveBack();
  const failed = await gateway.isIdle().then(
    () => undefined,
    (error: unknown) => error as Error,
  );
  return { next: gateway.node.exit() === undefined ? gateway : await startSmallGateway(), failed };
};
