// Files of a configuration as they were read last: tells when one of them holds something else by now.
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';

export interface WatchedFiles {
  /** UTF-8 text; throws when it cannot be read. Of what it was only a hash is kept: such files hold secrets. */
  read(path: string): string;
  /**
   * Looks at the files every `intervalMs`. `onChanged` is called once for each state that differs from what `read` found last and
   * was found twice in a row, so that a file that is being written is let alone; not being readable is a state as well.
   */
  watch(paths: readonly string[], intervalMs: number, onChanged: () => void): { close(): void };
}

export interface WatchedFilesOptions {
  readonly readNow?: (path: string) => string;
  readonly readLater?: (path: string) => Promise<string>;
}

const UNREADABLE = 'unreadable';
const stateOf = (text: string): string => hash('sha256', text);

export const createWatchedFiles = ({
  readNow = (path) => readFileSync(path, 'utf8'),
  readLater = (path) => readFile(path, 'utf8'),
}: WatchedFilesOptions = {}): WatchedFiles => {
  const readStates = new Map<string, string>();
  return {
    read(path) {
      readStates.set(path, UNREADABLE);
      const text = readNow(path);
      readStates.set(path, stateOf(text));
      return text;
    },
    watch(paths, intervalMs, onChanged) {
      let seenBefore: string | undefined;
      let isLooking = false;
      let isClosed = false;
      const look = async (): Promise<void> => {
        const states = await Promise.all(paths.map((path) => readLater(path).then(stateOf, () => UNREADABLE)));
        const seen = states.join();
        const held = seen === seenBefore;
        seenBefore = seen;
        const differs = paths.some((path, index) => readStates.get(path) !== states[index]);
        if (held && differs && !isClosed) onChanged();
      };
      const timer = setInterval(() => {
        // A file system that hangs is asked once.
        if (isLooking) return;
        isLooking = true;
        void look().finally(() => (isLooking = false));
      }, intervalMs);
      timer.unref();
      return {
        close() {
          isClosed = true;
          clearInterval(timer);
        },
      };
    },
  };
};
