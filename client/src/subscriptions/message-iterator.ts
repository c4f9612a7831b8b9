// Async iteration over messages, with a bounded buffer that ends in an error and never drops in silence.
import { iterationOverflow, type WeirError } from '../errors.ts';
import type { Message } from '../protocol/wire.ts';

export interface MessageFeed {
  readonly iterator: AsyncIterableIterator<Message>;
  push(message: Message): void;
  /** Nothing more will come; what is buffered is still read first. */
  end(error?: WeirError): void;
}

interface Waiter {
  resolve(result: IteratorResult<Message>): void;
  reject(error: WeirError): void;
}

/**
 * `onProcessed` gets a message when the loop asks for the one after it: the loop is done with it. More than `maxMessages` unread messages: the iteration
 * yields those and then throws `iteration_overflow`.
 */
export const createMessageFeed = (
  maxMessages: number,
  onProcessed: (message: Message) => void,
  onEnded: (feed: MessageFeed) => void,
): MessageFeed => {
  const buffer: Message[] = [];
  const waiters: Waiter[] = [];
  let state: 'open' | 'ended' = 'open';
  let failure: WeirError | undefined;
  /** The message the loop works on. */
  let given: Message | undefined;
  const done: IteratorResult<Message> = { done: true, value: undefined };

  const end = (error?: WeirError): void => {
    if (state === 'ended') return;
    state = 'ended';
    failure = error;
    for (const waiter of waiters.splice(0)) settleEnded(waiter);
    onEnded(feed);
  };
  const settleEnded = ({ resolve, reject }: Waiter): void => {
    // An iterator that threw is done.
    if (failure) reject(failure);
    else resolve(done);
    failure = undefined;
  };

  const give = (resolve: Waiter['resolve'], value: Message): void => {
    given = value;
    resolve({ done: false, value });
  };

  const iterator: AsyncIterableIterator<Message> = {
    next: () =>
      new Promise((resolve, reject) => {
        if (given) onProcessed(given);
        given = undefined;
        const value = buffer.shift();
        if (value) give(resolve, value);
        else if (state === 'ended') settleEnded({ resolve, reject });
        else waiters.push({ resolve, reject });
      }),
    return: () => {
      buffer.length = 0;
      end();
      return Promise.resolve(done);
    },
    [Symbol.asyncIterator]: () => iterator,
  };
  const feed: MessageFeed = {
    iterator,
    push: (value) => {
      if (state === 'ended') return;
      const waiter = waiters.shift();
      if (waiter) give(waiter.resolve, value);
      else if (buffer.length < maxMessages) buffer.push(value);
      else end(iterationOverflow());
    },
    end,
  };
  return feed;
};
