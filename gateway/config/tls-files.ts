// Whether certificate, key and passphrase fit together, asked of OpenSSL before the engine meets them.
import { createSecureContext } from 'node:tls';

export interface TlsFiles {
  readonly tlsCertFile: string;
  readonly tlsKeyFile: string;
  readonly tlsKeyPassphrase: string | undefined;
}

/** One line that holds neither key nor passphrase; undefined when they fit. */
export const tlsFileProblem = (
  { tlsCertFile, tlsKeyFile, tlsKeyPassphrase }: TlsFiles,
  readFile: (path: string) => string,
): string | undefined => {
  try {
    createSecureContext({ cert: readFile(tlsCertFile), key: readFile(tlsKeyFile), passphrase: tlsKeyPassphrase });
    return undefined;
  } catch (error) {
    const [reason = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return `expected a certificate chain in PEM form and, in tlsKeyFile, its key, got "${tlsCertFile}" and "${tlsKeyFile}": ${reason}`;
  }
};
