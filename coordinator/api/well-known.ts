/**
 * What gRPC's own tools ask of any server: whether it is well (grpc.health.v1) and what it speaks (grpc.reflection.v1, v1alpha).
 * The server itself, `''`, is SERVING while it answers, standing by or leading: that is for who restarts processes. A service of ours is SERVING where it can be
 * used, on the coordinator that leads: that is for who sends calls somewhere.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { Server, ServiceDefinition } from '@grpc/grpc-js';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation, type ServingStatus } from 'grpc-health-check';
import { invariant } from '../../proto/errors.ts';
import { packageFolder } from '../../proto/version.ts';

/** Of services that are described: written beside the generated types (deploy/setup/protocol.mjs). */
const DESCRIPTORS = ['alumnus.binpb', 'health.binpb'];

/** The files of a set, each encoded by itself. */
const filesOf = (name: string): Buffer[] =>
  fromBinary(FileDescriptorSetSchema, readFileSync(join(packageFolder(), 'proto', 'gen', name))).file.map((file) => Buffer.from(toBinary(FileDescriptorProtoSchema, file)));

export interface WellKnown {
  /** From now on it leads, or no longer does. */
  leads(leading: boolean): void;
}

/** Such as `alumnus.v1.OperatorService`, out of the paths of its methods. */
function serviceName(definition: ServiceDefinition): string {
  const [, name = ''] = /^\/([^/]+)\//.exec(Object.values(definition)[0]?.path ?? '') ?? [];
  invariant(name !== '', 'a service has methods, and each a path');
  return name;
}

/** @param ours whose health is told */
export function addWellKnown(server: Server, ours: readonly ServiceDefinition[]): WellKnown {
  const services = ours.map(serviceName);
  const statusOf = (leading: boolean): ServingStatus => (leading ? 'SERVING' : 'NOT_SERVING');
  const health = new HealthImplementation({ '': 'SERVING', ...Object.fromEntries(services.map((service) => [service, statusOf(false)])) });
  health.addToServer(server);
  // Of a package's definitions it reads the files alone.
  new ReflectionService(Object.fromEntries(DESCRIPTORS.map((name) => [name, { format: 'described', type: {}, fileDescriptorProtos: filesOf(name) }])) as never).addToServer(server);
  return {
    leads: (leading) => {
      for (const service of services) health.setStatus(service, statusOf(leading));
    },
  };
}
