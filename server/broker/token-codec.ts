/** A token as a row: the head of its record, and what a checkpoint holds of it. New fields go to the end. */
import type { Role } from '@lovage/protocol';
import type { Token } from '../engine/access.js';

export function tokenRow(token: Token): unknown[] {
  const { id, name, role, namespace, configure, write, read } = token;
  const { expiresAt, connectionsMax, publishRateMax, createdAt, hash } = token;
  return [
    id,
    name,
    role,
    namespace,
    configure,
    write,
    read,
    expiresAt,
    connectionsMax,
    publishRateMax,
    createdAt,
    hash,
  ];
}

/** Values of a row beyond its fields. */
export function tokenValues({ configure, write, read }: Token): number {
  return configure.length + write.length + read.length;
}

export function tokenOf(row: readonly unknown[]): Token {
  return {
    id: row[0] as string,
    name: row[1] as string,
    role: row[2] as Role,
    namespace: row[3] as string | null,
    configure: row[4] as string[],
    write: row[5] as string[],
    read: row[6] as string[],
    expiresAt: row[7] as number | null,
    connectionsMax: row[8] as number | null,
    publishRateMax: row[9] as number | null,
    createdAt: row[10] as number,
    hash: row[11] as string,
  };
}
