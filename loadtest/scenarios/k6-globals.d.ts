// Globals the k6 runtime has and its published types leave to the DOM library.
declare const console: { warn(message: string): void };
