// Typed events whose handlers cannot break the one who emits.

/** Removes the handler; calling it twice does nothing. */
export type Unsubscribe = () => void;
export type Handler<Payload> = (payload: Payload) => unknown;

export interface EventSource<Events> {
  /** Calls `handler` on every `event`, in the order of registration. Returns the function that removes it. */
  on<E extends keyof Events>(event: E, handler: Handler<Events[E]>): Unsubscribe;
  /** Like `on`, for the next `event` only. */
  once<E extends keyof Events>(event: E, handler: Handler<Events[E]>): Unsubscribe;
}

export interface Emitter<Events> extends EventSource<Events> {
  /** Returns the number of handlers called. What they throw, or reject with, goes to `onThrown`, and the rest still run. */
  emit<E extends keyof Events>(event: E, payload: Events[E]): number;
}

export const createEmitter = <Events>(onThrown: (error: unknown, event: keyof Events) => void): Emitter<Events> => {
  // One entry per registration, so that the same function may be registered twice.
  const entries = new Map<keyof Events, { handler: Handler<never> }[]>();

  const on: Emitter<Events>['on'] = (event, handler) => {
    const entry = { handler };
    entries.set(event, [...(entries.get(event) ?? []), entry]);
    return () => {
      entries.set(
        event,
        (entries.get(event) ?? []).filter((one) => one !== entry),
      );
    };
  };

  return {
    on,
    once: (event, handler) => {
      const off = on(event, (payload) => {
        off();
        return handler(payload);
      });
      return off;
    },
    emit: (event, payload) => {
      // The array is never changed in place: handlers may add and remove handlers while it is walked.
      const current = entries.get(event) ?? [];
      for (const { handler } of current) {
        try {
          const result = (handler as Handler<unknown>)(payload);
          if (result instanceof Promise) result.catch((error: unknown) => onThrown(error, event));
        } catch (error) {
          onThrown(error, event);
        }
      }
      return current.length;
    },
  };
};
