// A self-signed certificate for localhost, made by openssl for one test.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryDirectory } from '../support/index.ts';

export interface Certificate extends AsyncDisposable {
  readonly certFile: string;
  readonly keyFile: string;
  /** Certificate and key in one file, as HAProxy reads them; only without passphrase. */
  readonly bothFile: string;
  readonly directory: string;
  /** What a client trusts to believe the certificate. */
  readonly pem: string;
}

export const createCertificate = async (passphrase?: string): Promise<Certificate> => {
  const directory = await temporaryDirectory('certificate');
  const [certFile, keyFile, bothFile] = ['cert.pem', 'key.pem', 'both.pem'].map((name) =>
    join(directory.path, name),
  ) as [string, string, string];
  const secrecy = passphrase === undefined ? ['-nodes'] : ['-passout', `pass:${passphrase}`];
  await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'rsa:2048', '-days', '1', '-subj', '/CN=localhost'],
    ...['-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', ...secrecy, '-keyout', keyFile, '-out', certFile],
  ]);
  const pem = await readFile(certFile, 'utf8');
  await writeFile(bothFile, pem + (await readFile(keyFile, 'utf8')));
  return {
    certFile,
    keyFile,
    bothFile,
    directory: directory.path,
    pem,
    [Symbol.asyncDispose]: () => directory.remove(),
  };
};
