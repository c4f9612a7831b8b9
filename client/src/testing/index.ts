// What `@weir/client/testing` exports: a scripted server and a manual clock, for tests of applications and of the SDK.
export { createManualClock, type ManualClock, settled } from './manual-clock.ts';
export { type Answer, type CommandOf, createTestServer, type TestConnection, type TestServer } from './test-server.ts';
