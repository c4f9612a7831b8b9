// The colours: as the system says, or as chosen here and remembered.

const STORAGE_KEY = 'weir.console.theme';

/** Binds the radio buttons called `theme`. */
export const startTheme = (fieldset: HTMLFieldSetElement): void => {
  const radios = [...fieldset.querySelectorAll('input')];

  const apply = (theme: string): void => {
    // Without the attribute the stylesheet follows the system.
    if (theme === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = theme;
  };

  const remembered = localStorage.getItem(STORAGE_KEY);
  for (const radio of radios) {
    if (radio.value === remembered) {
      radio.checked = true;
      apply(radio.value);
    }
    radio.addEventListener('change', () => {
      apply(radio.value);
      localStorage.setItem(STORAGE_KEY, radio.value);
    });
  }
};
