// `POST /v1/drain`: begins to drain this node or another one, and tells at once what it will do.
import type { ControlBus } from '../../broker/control.ts';
import type { DrainAnswer } from '../../protocol/http.ts';
import { parseDrain } from '../../protocol/http-requests.ts';
import { Failure } from '../failure.ts';
import { json } from './answers.ts';
import type { ApiRoute } from './api-route.ts';
import { accepted, parseJson } from './request-body.ts';

export interface DrainRouteOptions {
  readonly nodeName: string;
  readonly control: ControlBus;
  /** Of this node; without a time as configured. A second call changes nothing. */
  readonly drain: (timeoutMs: number | undefined) => Promise<DrainAnswer>;
}

const KIND = 'drain';
/** Longest wait for the node that is to drain, which asks the cluster before it answers, ms. */
const ANSWER_TIMEOUT_MS = 2000;
/** Until a node that did not answer is worth another try, ms. */
const RETRY_MS = 1000;

interface Order {
  readonly node: string;
  readonly timeoutMs: number | null;
}

export const createDrainRoute = ({ nodeName, control, drain }: DrainRouteOptions): ApiRoute => {
  control.handle(KIND, async (payload) => {
    const { node, timeoutMs } = payload as unknown as Order;
    return node === nodeName ? await drain(timeoutMs ?? undefined) : null;
  });

  const drainOther = async (node: string, timeoutMs: number | undefined): Promise<DrainAnswer> => {
    const { answers, missing } = await control.request(KIND, { node, timeoutMs: timeoutMs ?? null }, ANSWER_TIMEOUT_MS);
    const answer = answers.find((one) => one.node === node)?.answer;
    if (answer !== undefined) return answer as unknown as DrainAnswer;
    if (missing.includes(node)) throw new Failure('brokerUnavailable', `node: ${node} did not answer`, RETRY_MS);
    throw new Failure('notAvailable', `node: no node of this name is there`);
  };

  return {
    method: 'post',
    path: '/v1/drain',
    access: 'manage',
    async handle({ request: { body } }) {
      const { node = nodeName, timeoutMs } = accepted(parseDrain(body.length === 0 ? {} : parseJson(body)));
      return json(await (node === nodeName ? drain(timeoutMs) : drainOther(node, timeoutMs)), 202);
    },
  };
};
