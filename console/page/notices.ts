// Errors that belong to no field: shown at the top until dismissed.
import type { WeirError } from '../../client/src/index.ts';
import { element } from './dom.ts';

export interface Notices {
  showError(what: string, error: WeirError): void;
}

const MAX_SHOWN = 3;

export const errorText = ({ code, name, message }: WeirError): string => `${message} (${code} ${name})`;

export const createNotices = (list: HTMLElement): Notices => ({
  showError: (what, error) => {
    const dismiss = element('button', 'quiet', 'Dismiss');
    dismiss.type = 'button';
    const notice = element('li', 'notice', element('span', '', `${what}: ${errorText(error)}`), dismiss);
    dismiss.addEventListener('click', () => notice.remove());
    list.append(notice);
    while (list.children.length > MAX_SHOWN) list.firstElementChild?.remove();
  },
});
