// What a development node prints when it listens: where the console is, how to publish, how to go on.
import type { Config, GeneratedSecrets } from './config.ts';

/** How to make a token, with the secret in it: this node made it up, and forgets it when it ends. */
const tokenHint = ({ jwtSecret }: GeneratedSecrets): string =>
  jwtSecret === undefined
    ? ''
    : `  Token, for clients with a name and rights (connect with {"token":"…"}):
    WEIR_JWT_SECRET='${jwtSecret}' npx weir token --user alice --subscribe 'chat:*' --ttl 1h

`;

export const developmentBanner = (config: Config, generated: GeneratedSecrets, port: number): string => {
  const secure = config.tlsCertFile === undefined ? '' : 's';
  const base = `http${secure}://${config.host}:${port}`;
  const key = generated.apiKey ?? '<one of your WEIR_API_KEYS>';
  return `
  Weir is running: node ${config.nodeName}, broker ${config.broker}, development profile

  Console      ${base}/console/
  WebSocket    ws${secure}://${config.host}:${port}/v1/ws
  API key      ${key}

  Publish:
    curl -X POST ${base}/v1/publish \\
      -H 'X-API-Key: ${key}' -H 'Content-Type: application/json' \\
      -d '{"channel":"news","data":{"text":"hello"}}'

${tokenHint(generated)}  Next:
    open the console, subscribe to news, run the curl
    npm run cluster     Redis, three nodes and HAProxy on this machine
    npm test            the whole suite
    ${base}/v1/openapi.json, docs/protocol.md, docs/configuration.md

`;
};
