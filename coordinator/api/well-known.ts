/**
 * What gRPC's own tools ask of any server: whether it is well (grpc.health.v1) and what it speaks (grpc.reflection.v1, v1alpha).
 * The server itself, `''`, is SERVING while it answers, standing by or leading: that is for who restarts processes. A service of ours is SERVING where it can be
 * used, on the coordinator that leads: that is for who sends calls somewhere.
 */
import { join } from 'node:path';
import type { Server } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation, type ServingStatus } from 'grpc-health-check';
import { packageFolder } from '../../proto/version.ts';

/** Files of ours that declare services; what they import comes with them. */
const SERVICE_FILES = ['alumnus/v1/operator.proto', 'alumnus/v1/worker.proto'];

export interface WellKnown {
  /** From now on it leads, or no longer does. */
  leads(leading: boolean): void;
}

/** @param services of ours, by their full names */
export function addWellKnown(server: Server, services: readonly string[]): WellKnown {
  const statusOf = (leading: boolean): ServingStatus => (leading ? 'SERVING' : 'NOT_SERVING');
  const health = new HealthImplementation({ '': 'SERVING', ...Object.fromEntries(services.map((service) => [service, statusOf(false)])) });
  health.addToServer(server);
  new ReflectionService(loadSync(SERVICE_FILES, { includeDirs: [join(packageFolder(), 'proto')] }), { services: [...services] }).addToServer(server);
  return {
    leads: (leading) => {
      for (const service of services) health.setStatus(service, statusOf(leading));
    },
  };
}
