/** What a server of ours answers to gRPC's own tools, over a real connection: its health by service, and what it speaks. */
import { fileURLToPath } from 'node:url';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { credentials, loadPackageDefinition, type Client, type ClientDuplexStream, type ClientReadableStream, type ServiceClientConstructor, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { serve, type ApiServer } from '../../../coordinator/api/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import { MemoryStore } from '../../simulation/store.ts';
import { MemoryDisk } from './memory-journal.ts';

interface Health {
  check(request: { service: string }, callback: (error: ServiceError | null, response?: { status: string }) => void): void;
  list(request: object, callback: (error: ServiceError | null, response?: { statuses: Record<string, { status: string }> }) => void): void;
  watch(request: { service: string }): ClientReadableStream<{ status: string }>;
}
interface Described {
  readonly listServicesResponse?: { readonly service: { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: Buffer[] };
  readonly errorResponse?: { readonly errorMessage: string };
}
interface Reflection {
  serverReflectionInfo(): ClientDuplexStream<object, Described>;
}

const OPERATOR = 'alumnus.v1.OperatorService';
let server: ApiServer;
const clients: Client[] = [];

/** A client made of a published description, as a tool would make it. */
function clientOf<Calls>(proto: string, path: readonly string[]): Calls {
  const definition = loadSync(fileURLToPath(import.meta.resolve(proto)), { enums: String });
  let found: unknown = loadPackageDefinition(definition);
  for (const name of path) found = (found as Record<string, unknown>)[name];
  const client = new (found as ServiceClientConstructor)(server.address, credentials.createInsecure());
  clients.push(client);
  return client as unknown as Calls;
}

beforeAll(async () => {
  const leading = { leader: () => { throw new AlumnusError('NOT_LEADER', 'stands by'); }, leaderAddress: '', journal: new MemoryDisk().open(), trouble: '' };
  server = await serve({ leading, store: new MemoryStore(), storeUrl: 'file:///nowhere', listen: '127.0.0.1:0', version: 'test' });
});

afterAll(async () => {
  for (const client of clients) client.close();
  await server.close();
});

test('the server is well while it answers; its services are where it leads, and who watches is told', async () => {
  const health = clientOf<Health>('grpc-health-check/proto/health/v1/health.proto', ['grpc', 'health', 'v1', 'Health']);
  const check = (service: string): Promise<string> => new Promise((resolve) => health.check({ service }, (error, response) => resolve(error?.details ?? response?.status ?? '')));
  expect([await check(''), await check(OPERATOR), await check('alumnus.v1.WorkerService')]).toEqual(['SERVING', 'NOT_SERVING', 'NOT_SERVING']);
  expect(await check('alumnus.v1.NoSuchService')).toContain('unknown');

  const watched = health.watch({ service: OPERATOR });
  const seen: string[] = [];
  const until = (count: number): Promise<void> => new Promise((resolve) => {
    const look = (): void => (seen.length >= count ? resolve() : void watched.once('data', look));
    look();
  });
  watched.on('data', ({ status }: { status: string }) => seen.push(status));
  await until(1);
  server.leads(true);
  await until(2);
  expect(await check(OPERATOR)).toBe('SERVING');
  server.leads(false);
  await until(3);
  expect(seen).toEqual(['NOT_SERVING', 'SERVING', 'NOT_SERVING']);
  expect(await check('')).toBe('SERVING');
  watched.on('error', () => undefined);
  watched.cancel();
});

test.each(['v1', 'v1alpha'])('describes itself to who has no description of it (%s)', async (release) => {
  const reflection = clientOf<Reflection>(`@grpc/reflection/build/proto/grpc/reflection/${release}/reflection.proto`, ['grpc', 'reflection', release, 'ServerReflection']);
  const call = reflection.serverReflectionInfo();
  const ask = (request: object): Promise<Described> => new Promise((resolve, reject) => {
    call.once('data', resolve);
    call.once('error', reject);
    call.write(request);
  });
  const { listServicesResponse } = await ask({ listServices: '' });
  expect(listServicesResponse?.service.map(({ name }) => name)).toEqual(expect.arrayContaining([OPERATOR, 'alumnus.v1.WorkerService', 'grpc.health.v1.Health']));
  // With what it imports.
  const { fileDescriptorResponse } = await ask({ fileContainingSymbol: OPERATOR });
  const files = (fileDescriptorResponse?.fileDescriptorProto ?? []).map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
  expect(files.flatMap(({ messageType }) => messageType.map(({ name }) => name))).toEqual(expect.arrayContaining(['SubmitRunRequest', 'FingerprintSpec']));
  // As protobuf's compilers name them, and grpcurl wants them: of a map `options` the entries are `OptionsEntry`.
  const entries = files.flatMap(({ messageType }) => messageType.flatMap(({ field, nestedType }) => nestedType.filter(({ options }) => options?.mapEntry).map(({ name }) => [name, field.map((each) => each.name)] as const)));
  expect(entries.length).toBeGreaterThan(1);
  for (const [name, fields] of entries) expect(fields.map((field) => `${field.split('_').map((word) => `${word.charAt(0).toUpperCase()}${word.slice(1)}`).join('')}Entry`)).toContain(name);
  const { errorResponse } = await ask({ fileContainingSymbol: 'alumnus.v1.NoSuchService' });
  expect(errorResponse?.errorMessage).toContain('not found');
  call.on('error', () => undefined);
  call.cancel();
});
