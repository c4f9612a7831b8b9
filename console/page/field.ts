// One input with the message below it that says what is wrong.
import type { Checked } from '../model/input.ts';
import { setText } from './dom.ts';

export interface Field {
  /** The checked value; undefined when it is wrong, which is then shown and the input focused. */
  read<T>(check: (text: string) => Checked<T>): T | undefined;
  complain(message: string): void;
}

/** The input names `message` in its `aria-describedby`. The complaint goes when the text changes. */
export const createField = (input: HTMLInputElement | HTMLTextAreaElement, message: HTMLElement): Field => {
  const complain = (text: string): void => {
    setText(message, text);
    message.hidden = text === '';
    if (text === '') input.removeAttribute('aria-invalid');
    else input.setAttribute('aria-invalid', 'true');
  };
  input.addEventListener('input', () => complain(''));

  return {
    read: (check) => {
      const checked = check(input.value);
      if (checked.kind === 'valid') {
        complain('');
        return checked.value;
      }
      complain(checked.message);
      input.focus();
      return undefined;
    },
    complain,
  };
};
