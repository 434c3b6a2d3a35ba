/** Queues by namespace and name, and what the queues of each namespace amount to. */
import type { NamespaceInfo, NamespaceSettings } from '@lovage/protocol';
import type { Queue } from './queue.js';

/** What there is in one namespace. The counts equal a recount of its queues at any time. */
export class Space {
  readonly namespace: string;
  /** Null unless it was set. */
  settings: NamespaceSettings | null = null;
  queues = 0;
  messages = 0;
  bytes = 0;

  constructor(namespace: string) {
    this.namespace = namespace;
  }

  info(): NamespaceInfo {
    const { namespace: name, settings, queues, messages, bytes } = this;
    return { name, settings, queues, messages, bytes };
  }
}

/** Used as a map from `namespace name` to queue. A space is there while it is set or has a queue. */
export class QueueDirectory {
  readonly #queues = new Map<string, Queue>();
  readonly #spaces = new Map<string, Space>();

  get size(): number {
    return this.#queues.size;
  }

  get(key: string): Queue | undefined {
    return this.#queues.get(key);
  }

  keys(): IterableIterator<string> {
    return this.#queues.keys();
  }

  values(): IterableIterator<Queue> {
    return this.#queues.values();
  }

  /** Gives the queue its name, and its place in its namespace. */
  set(key: string, queue: Queue): void {
    this.delete(key);
    const space = this.#spaces.get(queue.namespace) ?? this.#open(queue.namespace);
    space.queues++;
    queue.space = space;
    this.#queues.set(key, queue);
  }

  /** Takes a queue's name from it; what is left of its messages counts no more. */
  delete(key: string): void {
    const queue = this.#queues.get(key);
    if (queue === undefined) return;
    this.#queues.delete(key);
    const { space } = queue;
    queue.space = new Space('');
    space.queues--;
    space.messages -= queue.size;
    space.bytes -= queue.bytes;
    this.#close(space);
  }

  space(namespace: string): Space | undefined {
    return this.#spaces.get(namespace);
  }

  spaces(): IterableIterator<Space> {
    return this.#spaces.values();
  }

  /** Sets a namespace, or with null makes it one that was never set. */
  configure(namespace: string, settings: NamespaceSettings | null): void {
    const space = this.#spaces.get(namespace) ?? this.#open(namespace);
    space.settings = settings;
    this.#close(space);
  }

  #open(namespace: string): Space {
    const space = new Space(namespace);
    this.#spaces.set(namespace, space);
    return space;
  }

  #close(space: Space): void {
    if (space.queues === 0 && space.settings === null) this.#spaces.delete(space.namespace);
  }
}
