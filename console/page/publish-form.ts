// Publishes by the SDK and shows what became of it.
import { type PublishResult, type WeirClient, WeirError } from '../../client/src/index.ts';
import { formatDuration } from '../model/format.ts';
import { checkChannel, checkJson, checkKey } from '../model/input.ts';
import { byId, setText } from './dom.ts';
import { createField } from './field.ts';
import { errorText } from './notices.ts';

const publishedText = ({ channel, offset, epoch, duplicate }: PublishResult, tookMs: number): string => {
  const took = `in ${formatDuration(tookMs)}`;
  if (offset === undefined) return `Published to ${channel} ${took}; ephemeral channels have no offsets.`;
  const again = duplicate ? ' (known already)' : '';
  return `Published to ${channel} as #${offset}${again}, epoch ${epoch ?? 'unknown'}, ${took}.`;
};

export const startPublishForm = (client: WeirClient): void => {
  const form = byId('publish-form', HTMLFormElement);
  const data = byId('publish-data', HTMLTextAreaElement);
  const result = byId('publish-result', HTMLElement);
  const channelField = createField(
    byId('publish-channel', HTMLInputElement),
    byId('publish-channel-error', HTMLElement),
  );
  const dataField = createField(data, byId('publish-data-error', HTMLElement));
  const keyField = createField(byId('publish-key', HTMLInputElement), byId('publish-key-error', HTMLElement));
  /** Only the newest publish speaks. */
  let lastNumber = 0;

  const say = (kind: 'waiting' | 'done' | 'failed', text: string): void => {
    result.dataset['kind'] = kind;
    setText(result, text);
  };

  const publish = async (channel: string, value: unknown, key: string | undefined): Promise<void> => {
    const number = ++lastNumber;
    const startedMs = performance.now();
    say(
      'waiting',
      client.isConnected ? 'Publishing…' : 'Not connected: it waits in the queue until the connection is back.',
    );
    try {
      const published = await client.publish(channel, value, key === undefined ? {} : { key });
      if (number === lastNumber) say('done', publishedText(published, performance.now() - startedMs));
    } catch (error) {
      const text = error instanceof WeirError ? errorText(error) : String(error);
      if (number === lastNumber) say('failed', `Not published: ${text}`);
    }
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    // Read from the last to the first, so that the focus ends on the first wrong one.
    const key = keyField.read(checkKey);
    const value = dataField.read(checkJson);
    const channel = channelField.read(checkChannel);
    if (channel.kind === 'valid' && value.kind === 'valid' && key.kind === 'valid') {
      void publish(channel.value, value.value, key.value);
    } else say('failed', 'Not published: see the field marked above.');
  });
  data.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
};
