// A plain GET on a WebSocket path: 426 and what to do instead.
import { WEIR_SUBPROTOCOL } from '../dialects/weir.ts';
import { problem } from './answers.ts';
import type { ApiRoute } from './api-route.ts';

const HELP =
  'this is a WebSocket endpoint: open it with a WebSocket client, ' +
  `sub-protocol ${WEIR_SUBPROTOCOL}, and send {"id":1,"type":"connect"} first`;

export const upgradeHelpRoutes: readonly ApiRoute[] = [
  {
    method: 'get',
    path: '/v1/ws',
    access: 'public',
    handle: () =>
      problem(
        'badRequest',
        HELP,
        { status: 426 },
        { upgrade: 'websocket', connection: 'Upgrade', 'sec-websocket-version': '13' },
      ),
  },
];
