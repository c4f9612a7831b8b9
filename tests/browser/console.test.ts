// The live console in a real browser on a real node: what an operator does with it, and what it shows when things break.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, type NodeProcess, projectRoot, requestJson, startNode, waitFor } from '../support/index.ts';
import { launchChromium, openWatchedPage, type WatchedPage } from './chromium.ts';

const API_KEY = 'console-test-secret';

let browser: Browser;
let node: NodeProcess;

const openConsole = (url = node.url, fragment = ''): Promise<WatchedPage> =>
  openWatchedPage(browser, `${url}/console/${fragment}`);

/** Waits until the text of the element matches. */
const seeText = (locator: Locator, pattern: RegExp): Promise<unknown> =>
  waitFor(async () => pattern.test(await locator.innerText({ timeout: 1000 })), {
    timeoutMs: 15_000,
    description: `text that matches ${String(pattern)}`,
  });

const seeState = (page: Page, pattern: RegExp): Promise<unknown> =>
  seeText(page.getByRole('banner').locator('.state'), pattern);

const region = (page: Page, name: string): Locator => page.getByRole('region', { name, exact: true });
const subscriptionRow = (page: Page, channel: string): Locator =>
  region(page, 'Channels').getByRole('listitem').filter({ hasText: channel });
const messageRows = (page: Page, channel: string): Locator => page.locator(`.row.message[data-channel="${channel}"]`);

const subscribe = async (page: Page, channel: string): Promise<void> => {
  const input = region(page, 'Channels').getByLabel('Channel', { exact: true });
  await input.fill(channel);
  await input.press('Enter');
  await seeText(subscriptionRow(page, channel), /^subscribed$/m);
};

const publish = async (url: string, channel: string, data: unknown, key?: string): Promise<number> => {
  const answer = await requestJson(`${url}/v1/publish`, { apiKey: API_KEY, body: { channel, data, key } });
  expect(answer.status).toBe(200);
  return (answer.body as { offset: number }).offset;
};

const showStatistics = async (page: Page, key: string): Promise<void> => {
  await region(page, 'Cluster').getByLabel('API key').fill(key);
  await region(page, 'Cluster').getByRole('button', { name: 'Show' }).click();
};

beforeAll(async () => {
  const built = promisify(execFile)(process.execPath, [join(projectRoot(), 'console', 'build.mjs')]);
  [browser, node] = await Promise.all([launchChromium(), startNode({ name: 'console-node', apiKey: API_KEY }), built]);
});

afterAll(async () => {
  await browser.close();
  await node.stop();
});

describe('the console when something is wrong', () => {
  it('names the fault in a channel name and subscribes to nothing', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    const channels = region(page, 'Channels');
    const input = channels.getByLabel('Channel', { exact: true });
    await input.fill('two words');
    await input.press('Enter');
    await seeText(channels.getByRole('alert'), /A space cannot be in a channel name/);
    expect(await input.getAttribute('aria-invalid')).toBe('true');
    await input.fill('now-fine');
    await channels.getByRole('alert').waitFor({ state: 'hidden' });
    expect(await subscriptionRow(page, 'two').count()).toBe(0);
    expect(problems).toEqual([]);
  });

  it('says what is wrong with JSON that is not, and publishes nothing', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'bad-json');
    const form = region(page, 'Publish');
    await form.getByLabel('Channel', { exact: true }).fill('bad-json');
    await form.getByLabel('Data').fill('{"text": hello}');
    await form.getByRole('button', { name: 'Publish' }).click();
    await seeText(form.getByRole('alert'), /Not valid JSON: /);
    await seeText(form.getByRole('status'), /Not published/);
    expect(await form.getByLabel('Data').getAttribute('aria-invalid')).toBe('true');
    // The next publication is the first one: nothing went out before.
    expect(await publish(node.url, 'bad-json', 1)).toBe(1);
    expect(problems).toEqual([]);
  });

  it('says that a wrong API key was not accepted, asks once, and shows statistics with the right one', async () => {
    await using watched = await openConsole();
    const { page, problems, requestUrls } = watched;
    await seeState(page, /^Connected/);
    await showStatistics(page, 'not-the-key');
    const cluster = region(page, 'Cluster');
    await seeText(cluster.getByRole('status'), /This API key was not accepted \(401\)/);
    expect(await cluster.getByRole('table').count()).toBe(0);
    // The browser itself reports the answer 401.
    const refused = problems.filter((problem) => /status of 401 .*\/v1\/stats$/.test(problem));
    expect(refused).toHaveLength(1);

    await showStatistics(page, API_KEY);
    await cluster.getByRole('row', { name: /console-node/ }).waitFor();
    expect(await cluster.getByRole('status').innerText()).toBe('');
    expect(problems).toEqual(refused);
    expect(requestUrls.filter((url) => url.includes(API_KEY))).toEqual([]);
  });

  it('shows a killed node as reconnecting, and goes on with a gap receipt when it is back', async () => {
    const port = await freePort();
    await using first = await startNode({ name: 'mortal', apiKey: API_KEY, port });
    await using watched = await openConsole(first.url);
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'survivor');
    await publish(first.url, 'survivor', 'before');
    await messageRows(page, 'survivor').filter({ hasText: 'before' }).waitFor();

    first.kill('SIGKILL');
    await seeState(page, /Reconnecting\s+attempt \d+, (next try in \d+\.\d s|trying now)/);
    await seeText(subscriptionRow(page, 'survivor'), /^subscribing$/m);
    const form = region(page, 'Publish');
    await form.getByLabel('Channel', { exact: true }).fill('survivor');
    await form.getByLabel('Data').fill('"queued"');
    await form.getByRole('button', { name: 'Publish' }).click();
    await seeText(form.getByRole('status'), /waits in the queue/);

    await using second = await startNode({ name: 'mortal-again', apiKey: API_KEY, port });
    await seeState(page, /^Connected/);
    await seeText(region(page, 'Connection'), /mortal-again/);
    await seeText(subscriptionRow(page, 'survivor'), /^subscribed$/m);
    await seeText(form.getByRole('status'), /Published to survivor as #1/);
    await publish(second.url, 'survivor', 'after');
    await messageRows(page, 'survivor').filter({ hasText: 'after' }).waitFor();
    // A memory broker forgets with its process: the numbering restarts, and the page says so.
    await seeText(
      region(page, 'Messages').getByRole('alert'),
      /1 gap\s+survivor: .*numbering of the channel restarted/,
    );
    await page.locator('.row.gap[data-channel="survivor"]').waitFor();

    const others = problems.filter((problem) => !/WebSocket connection to 'ws:.*\/v1\/ws' failed/.test(problem));
    expect(others).toEqual([]);
  });
});

describe('the console', () => {
  it('connects, subscribes, and shows what is published by HTTP with offset and latency', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await seeText(region(page, 'Connection'), /Node\s+console-node\s+Broker\s+ready\s+Round trip\s+(<1|\d+) ms/);
    await subscribe(page, 'live:http');
    await publish(node.url, 'live:http', { text: 'first', nested: { n: 1.5 } }, 'k-7');
    await publish(node.url, 'live:http', { text: 'second' });

    const rows = messageRows(page, 'live:http');
    await rows.nth(1).waitFor();
    await seeText(rows.nth(0), /live:http\s+#2\s+.*ms/);
    await seeText(rows.nth(0), /\{ "text": "second" \}/);
    await seeText(rows.nth(1), /#1/);
    await seeText(rows.nth(1), /\{ "text": "first", "nested": \{ "n": 1\.5 \} \}/);
    await seeText(rows.nth(1), /key k-7/);
    await seeText(rows.nth(0).locator('.latency'), /^(<1|\d+) ms$/);
    await seeText(region(page, 'Messages'), /latency p50 \/ p99\s+(<1|\d+) ms \/ (<1|\d+) ms/);
    await seeText(
      subscriptionRow(page, 'live:http'),
      /messages\s+2\s+offset\s+#2\s+epoch\s+\S+\s+recovered\s+yes\s+gaps\s+0/,
    );
    expect(problems).toEqual([]);
  });

  it('publishes by its form and shows the position, from the keyboard alone', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'typed');
    const form = region(page, 'Publish');
    await form.getByLabel('Channel', { exact: true }).fill('typed');
    await form.getByLabel('Data').fill('{"answer": 42}');
    await form.getByLabel('Key').fill('k1');
    await form.getByLabel('Data').press('Control+Enter');
    await seeText(form.getByRole('status'), /Published to typed as #1, epoch \S+, in .*ms/);
    const row = messageRows(page, 'typed');
    await seeText(row, /\{ "answer": 42 \}/);
    await seeText(row, /key k1/);
    await seeText(row, /from this page/);
    expect(problems).toEqual([]);
  });

  it('stops showing a channel that was unsubscribed', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'left');
    await subscribe(page, 'kept');
    await page.getByRole('button', { name: 'Unsubscribe from left' }).click();
    await subscriptionRow(page, 'left').waitFor({ state: 'detached' });
    await waitFor(
      async () => {
        const { body } = await requestJson(`${node.url}/v1/channels/left`, { apiKey: API_KEY });
        return (body as { subscribers: number }).subscribers === 0;
      },
      { description: 'the node to have no subscriber of the channel' },
    );
    await publish(node.url, 'left', 1);
    await publish(node.url, 'kept', 2);
    await messageRows(page, 'kept').waitFor();
    expect(await messageRows(page, 'left').count()).toBe(0);
    expect(problems).toEqual([]);
  });

  it('disconnects and connects again on request, and resumes its subscriptions', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'resumed');
    await page.getByRole('button', { name: 'Disconnect' }).click();
    await seeState(page, /^Disconnected/);
    await seeText(subscriptionRow(page, 'resumed'), /^subscribing$/m);
    await page.getByRole('button', { name: 'Connect', exact: true }).click();
    await seeState(page, /^Connected/);
    await seeText(subscriptionRow(page, 'resumed'), /^subscribed$/m);
    await publish(node.url, 'resumed', 'again');
    await messageRows(page, 'resumed').waitFor();
    expect(problems).toEqual([]);
  });

  it('counts every message of a flood, holds the newest 500, and can be paused', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'flood');
    const batch = async (size: number): Promise<void> => {
      const commands = Array.from({ length: size }, (_, n) => ({ publish: { channel: 'flood', data: { n } } }));
      const answer = await requestJson(`${node.url}/v1/batch`, { apiKey: API_KEY, body: { commands } });
      expect(answer.status).toBe(200);
    };
    for (let turn = 0; turn < 5; turn++) await batch(1000);
    const stream = region(page, 'Messages');
    await seeText(stream, /received\s+5,000/);
    await seeText(messageRows(page, 'flood').first(), /#5000/);
    // Older rows come to the page as somebody scrolls down to them.
    const list = page.getByRole('region', { name: 'Message list' });
    await list.focus();
    await waitFor(
      async () => {
        await list.press('End');
        return (await messageRows(page, 'flood').last().getAttribute('data-offset')) === '4501';
      },
      { timeoutMs: 15_000, description: 'the oldest message held' },
    );
    expect(await messageRows(page, 'flood').count()).toBe(500);
    await list.press('Home');
    await seeText(messageRows(page, 'flood').first(), /#5000/);

    await stream.getByRole('button', { name: 'Pause' }).click();
    await batch(30);
    await seeText(stream.getByRole('button', { name: 'Resume' }), /Resume \(30 new\)/);
    await seeText(messageRows(page, 'flood').first(), /#5000/);
    await stream.getByRole('button', { name: 'Resume' }).click();
    await seeText(messageRows(page, 'flood').first(), /#5030/);
    expect(await messageRows(page, 'flood').count()).toBeLessThanOrEqual(500);
    await stream.getByRole('button', { name: 'Clear' }).click();
    await seeText(stream, /received\s+0\s[^]*Nothing here yet/);
    expect(problems).toEqual([]);
  });

  it('shows messages of one channel when asked to', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    await seeState(page, /^Connected/);
    await subscribe(page, 'one');
    await subscribe(page, 'other');
    await publish(node.url, 'one', 1);
    await publish(node.url, 'other', 2);
    await messageRows(page, 'other').waitFor();
    await messageRows(page, 'one').waitFor();
    await page.getByLabel('Show messages of').selectOption('one');
    await messageRows(page, 'other').waitFor({ state: 'detached' });
    await messageRows(page, 'one').waitFor();
    expect(await messageRows(page, 'one').count()).toBe(1);
    await page.getByLabel('Show messages of').selectOption('All channels');
    await messageRows(page, 'other').waitFor();
    expect(problems).toEqual([]);
  });

  it('takes an API key from the fragment, removes it from the address, and shows the cluster', async () => {
    await using watched = await openConsole(node.url, `#key=${API_KEY}`);
    const { page, problems, requestUrls } = watched;
    await seeState(page, /^Connected/);
    expect(new URL(page.url()).hash).toBe('');
    await subscribe(page, 'counted');
    const cluster = region(page, 'Cluster');
    await seeText(cluster, /Connections\s+[1-9]\d*\s+Subscriptions\s+[1-9]/);
    await seeText(
      cluster.getByRole('row', { name: /console-node/ }),
      /console-node\s*this page\s+ready\s+ready\s+[1-9]/,
    );
    await page.reload();
    await cluster.getByRole('row', { name: /console-node/ }).waitFor();
    await cluster.getByRole('button', { name: 'Forget' }).click();
    await cluster.getByRole('table').waitFor({ state: 'hidden' });
    expect(await page.evaluate('JSON.stringify([{ ...sessionStorage }, { ...localStorage }])')).toBe('[{},{}]');
    expect(requestUrls.filter((url) => url.includes(API_KEY) && !url.includes('#'))).toEqual([]);
    expect(problems).toEqual([]);
  });

  it('is dark or light as the system says, or as chosen, also after a reload', async () => {
    await using watched = await openConsole();
    const { page, problems } = watched;
    const background = (): Promise<unknown> => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const light = await background();
    await page.emulateMedia({ colorScheme: 'dark' });
    const dark = await background();
    expect(dark).not.toBe(light);
    await page.getByRole('radio', { name: 'System' }).focus();
    await page.keyboard.press('ArrowRight');
    expect(await page.getByRole('radio', { name: 'Light' }).isChecked()).toBe(true);
    expect(await background()).toBe(light);
    await page.reload();
    await seeState(page, /^Connected/);
    expect(await background()).toBe(light);
    await page.keyboard.press('Tab');
    await page.getByRole('radio', { name: 'Light' }).focus();
    await page.keyboard.press('ArrowRight');
    await page.emulateMedia({ colorScheme: 'light' });
    expect(await background()).toBe(dark);
    expect(problems).toEqual([]);
  });

  it('fits a narrow screen without scrolling sideways', async () => {
    await using watched = await openConsole(node.url, `#key=${API_KEY}`);
    const { page, problems } = watched;
    await page.setViewportSize({ width: 380, height: 800 });
    await seeState(page, /^Connected/);
    await subscribe(page, `long:${'x'.repeat(190)}`);
    await publish(node.url, `long:${'x'.repeat(190)}`, { text: 'y'.repeat(300) });
    await page.locator('.row.message').waitFor();
    await region(page, 'Cluster')
      .getByRole('row', { name: /console-node/ })
      .waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(380);
    expect(problems).toEqual([]);
  });
});
