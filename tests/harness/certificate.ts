/** Certificates for tests, made by openssl: signed by themselves, so that whoever trusts one trusts it alone. */
import { execFileSync } from 'node:child_process';

/** @param names as certificates have them, such as `DNS:localhost` or `IP:127.0.0.1` */
export function makeCertificate(files: { readonly key: string; readonly certificate: string }, names: readonly string[]): void {
  execFileSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=Alumnus tests',
    '-addext', `subjectAltName=${names.join(',')}`, '-keyout', files.key, '-out', files.certificate,
  ], { stdio: 'pipe' });
}
