import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createWatchedFiles } from './watched-files.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const INTERVAL_MS = 1000;
const start = (files: Record<string, string | undefined>) => {
  const changes: string[] = [];
  const readNow = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error(`no such file: ${path}`);
    return text;
  };
  const watched = createWatchedFiles({
    readNow,
    readLater: async (path) => Promise.resolve().then(() => readNow(path)),
  });
  const paths = Object.keys(files);
  const readAll = (): void => {
    for (const path of paths) {
      try {
        changes.push(watched.read(path));
      } catch {
        changes.push('unreadable');
      }
    }
  };
  readAll();
  changes.length = 0;
  const { close } = watched.watch(paths, INTERVAL_MS, readAll);
  return { changes, close, look: async (times = 1) => vi.advanceTimersByTimeAsync(times * INTERVAL_MS) };
};

it('a file that holds what was read is never told of', async () => {
  const { changes, look } = start({ a: 'one', b: 'two' });
  await look(5);
  expect(changes).toEqual([]);
});

it('another content is told of once, when it was found twice in a row', async () => {
  const files = { a: 'one' };
  const { changes, look } = start(files);
  await look(2);
  files.a = 'half';
  await look();
  files.a = 'half and whole';
  await look();
  expect(changes).toEqual([]);
  await look();
  expect(changes).toEqual(['half and whole']);
  await look(5);
  expect(changes).toEqual(['half and whole']);
});

it('what changed between the reading and the first look is told of as well', async () => {
  const files = { a: 'one' };
  const { changes, look } = start(files);
  files.a = 'two';
  await look(2);
  expect(changes).toEqual(['two']);
});

it('a file that is gone is told of once, and again when it is back', async () => {
  const files: Record<string, string | undefined> = { a: 'one' };
  const { changes, look } = start(files);
  files['a'] = undefined;
  await look(5);
  expect(changes).toEqual(['unreadable']);
  files['a'] = 'one';
  await look(5);
  expect(changes).toEqual(['unreadable', 'one']);
});

it('nothing is told of after the end', async () => {
  const files = { a: 'one' };
  const { changes, look, close } = start(files);
  files.a = 'two';
  await look();
  close();
  await look(3);
  expect(changes).toEqual([]);
  expect(vi.getTimerCount()).toBe(0);
});
