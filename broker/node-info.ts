// What a node tells about itself under its lease (`ControlBus.announce`): where it is reached, and how much it takes.
import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { Json } from './control.ts';

const portSchema = Type.Integer({ minimum: 1, maximum: 65_535 });

/** Whoever reads it also meets nodes of other versions: fields may be added, never change their meaning. */
export const nodeInfoSchema = Type.Object({
  version: Type.String(),
  /** `ready`: takes new clients; `draining`: keeps those it has; `not_ready`: its health check says why. */
  state: Type.Union([Type.Literal('ready'), Type.Literal('draining'), Type.Literal('not_ready')]),
  /** Whether `state` is `ready`. */
  ready: Type.Boolean(),
  /** IP address by which balancers reach the node. */
  address: Type.String({ minLength: 1, maxLength: 45 }),
  /** Where clients connect. */
  port: portSchema,
  /** Where the server API and health are, when the node has a second listener. */
  internalPort: Type.Optional(portSchema),
  /** Where it answers HAProxy's agent-check; its weight is then told there. */
  agentCheckPort: Type.Optional(portSchema),
  /** Share of new connections it should get beside nodes at 100, percent. */
  weight: Type.Integer({ minimum: 1, maximum: 100 }),
  /** New connections a second it can take. */
  admissionPerSecond: Type.Number({ minimum: 0 }),
  connections: Type.Integer({ minimum: 0 }),
});
export type NodeInfo = Static<typeof nodeInfoSchema>;

/** Undefined for anything else, as a node of an earlier version announces. */
export const parseNodeInfo = (info: Json): NodeInfo | undefined =>
  Value.Check(nodeInfoSchema, info) ? info : undefined;
