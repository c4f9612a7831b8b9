// Asks a node for the statistics of the cluster, again and again while there is a key.
import type { ProblemDocument, Stats } from '../../protocol/http.ts';

export type Statistics =
  | { readonly kind: 'noKey' }
  | { readonly kind: 'loading' }
  | { readonly kind: 'shown'; readonly stats: Stats }
  /** The key is at fault: not asked again until it changes. */
  | { readonly kind: 'refused'; readonly message: string }
  /** Nobody is asked at the moment. */
  | { readonly kind: 'paused' }
  /** Asked again at the next turn. */
  | { readonly kind: 'failed'; readonly message: string };

export interface StatisticsSource {
  /** Empty: stops asking. */
  useKey(key: string): void;
}

export interface StatisticsOptions {
  readonly url: string;
  /** Asked before each turn: a page that nobody sees and a node that is not there need no requests. */
  readonly isWanted: () => boolean;
  readonly onChange: (statistics: Statistics) => void;
}

const POLL_MS = 2000;
const TIMEOUT_MS = 5000;

/** Header values cannot hold others, and `fetch` throws for them. */
const HEADER_VALUE = /^[\x21-\x7e]+$/;

const refusal = (status: number, detail: string): Statistics | undefined => {
  if (status === 401) return { kind: 'refused', message: `This API key was not accepted (401): ${detail}.` };
  if (status === 403) return { kind: 'refused', message: `This API key may not read statistics (403): ${detail}.` };
  return undefined;
};

const ask = async (url: string, key: string, stop: AbortSignal): Promise<Statistics> => {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(TIMEOUT_MS)]);
  const response = await fetch(url, { headers: { 'x-api-key': key }, cache: 'no-store', signal });
  if (response.ok) return { kind: 'shown', stats: (await response.json()) as Stats };
  const { detail } = (await response.json()) as ProblemDocument;
  return (
    refusal(response.status, detail) ?? { kind: 'failed', message: `The node answered ${response.status}: ${detail}` }
  );
};

export const createStatisticsSource = ({ url, isWanted, onChange }: StatisticsOptions): StatisticsSource => {
  let stop = new AbortController();

  const poll = async (key: string, { signal }: AbortController): Promise<void> => {
    if (isWanted()) {
      const statistics = await ask(url, key, signal).catch((error: unknown): Statistics => {
        return { kind: 'failed', message: `The node did not answer: ${(error as Error).message}` };
      });
      if (signal.aborted) return;
      onChange(statistics);
      if (statistics.kind === 'refused') return;
    } else onChange({ kind: 'paused' });
    const timer = setTimeout(() => void poll(key, stop), POLL_MS);
    signal.addEventListener('abort', () => clearTimeout(timer));
  };

  return {
    useKey: (key) => {
      stop.abort();
      stop = new AbortController();
      if (key === '') onChange({ kind: 'noKey' });
      else if (!HEADER_VALUE.test(key)) {
        onChange({ kind: 'refused', message: 'An API key has no spaces and only plain characters.' });
      } else {
        onChange({ kind: 'loading' });
        void poll(key, stop);
      }
    },
  };
};
