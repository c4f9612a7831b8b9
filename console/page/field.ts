// One input with the message below it that says what is wrong.
import type { Checked } from '../model/input.ts';
import { setText } from './dom.ts';

export interface Field {
  /** What is wrong is shown, and the input focused. */
  read<T>(check: (text: string) => Checked<T>): Checked<T>;
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
      complain(checked.kind === 'valid' ? '' : checked.message);
      if (checked.kind === 'invalid') input.focus();
      return checked;
    },
    complain,
  };
};
