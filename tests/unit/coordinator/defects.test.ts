/** A defect behind a call: its caller is told that there is one, and whoever listens gets all of it. */
import { credentials, Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { unary } from '../../../coordinator/api/grpc.ts';
import { onDefect } from '../../../coordinator/api/index.ts';
import { AlumnusError } from '../../../proto/errors.ts';
import { OperatorServiceClient, OperatorServiceService } from '../../../proto/gen/alumnus/v1/operator.ts';

test('goes to who listens with its stack, and what a caller did wrong does not', async () => {
  const heard: Error[] = [];
  onDefect((error) => heard.push(error));
  const none = unary(() => {
    throw new AlumnusError('RUN_NOT_FOUND', 'there is no such run');
  });
  const server = new Server();
  const service = { ...Object.fromEntries(Object.keys(OperatorServiceService).map((name) => [name, none])), listRuns: unary(() => {
    throw new TypeError('a defect');
  }) };
  server.addService(OperatorServiceService, service);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
  });
  const client = new OperatorServiceClient(`127.0.0.1:${port}`, credentials.createInsecure());
  try {
    const error = await new Promise<ServiceError | null>((resolve) => client.listRuns({}, resolve));
    expect(error?.details).toContain('a defect');
    await new Promise((resolve) => client.getStatus({}, resolve));
    expect(heard).toHaveLength(1);
    expect(heard[0]).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('a defect'), cause: expect.any(TypeError) });
  } finally {
    client.close();
    server.forceShutdown();
  }
});
