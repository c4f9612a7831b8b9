// The API key of this tab: taken from the address once, kept in the tab's memory only.

const STORAGE_KEY = 'weir.console.apiKey';
const FRAGMENT_FIELD = 'key';

export const rememberApiKey = (key: string): void => {
  if (key === '') sessionStorage.removeItem(STORAGE_KEY);
  else sessionStorage.setItem(STORAGE_KEY, key);
};

/** From `#key=…`, which no server ever sees and which leaves the address bar at once; else the one remembered; else empty. */
export const takeApiKey = (): string => {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get(FRAGMENT_FIELD);
  if (given === null) return sessionStorage.getItem(STORAGE_KEY) ?? '';
  fragment.delete(FRAGMENT_FIELD);
  const rest = fragment.toString();
  history.replaceState(null, '', location.pathname + location.search + (rest === '' ? '' : `#${rest}`));
  return given;
};
