/** Every bound of the protocol, with its unit. Those that a broker can set are sent in WELCOME; these are the defaults. */
export const LIMITS = {
  /** Protocol version, the number in HELLO. */
  version: 1,
  /** Bytes of the largest frame before HELLO is accepted (RabbitMQ allows 8 KiB, NATS 4 KiB). */
  helloBytesMax: 16_384,
  /** ms between the socket's opening and HELLO (RabbitMQ: 10 s). */
  helloTimeoutMs: 10_000,
  /** Bytes of one message body. */
  bodyBytesMax: 16 * 1024 * 1024,
  /** Bytes of one message's headers, as MessagePack. */
  headerBytesMax: 64 * 1024,
  /** Bytes that a frame may have beyond the largest body: its own fields, headers, and other messages of the batch. */
  frameOverheadBytes: 1024 * 1024,
  /** Messages in one PUBLISH. */
  publishMessagesMax: 65_536,
  /** Queue names, and pairs of exchange and routing key, in one PUBLISH. */
  publishTargetsMax: 4_096,
  /** Ranges in one START, ACK, NACK, RELEASE, REFUSED or RECALL. */
  rangesMax: 65_536,
  /** Results in one COMPLETE. */
  resultsMax: 65_536,
  /** Results that one session watches for at a time. */
  resultWatchesMax: 1_000_000,
  /** Bytes of a progress, of the latest of a message. */
  progressBytesMax: 65_536,
  /** Lines of a message's log that are kept, the last ones, and characters of a line. */
  logLinesMax: 100,
  logLineLengthMax: 1_000,
  /** Nested arrays and maps in one frame. */
  depthMax: 16,
  /**
   * Values in one frame or in one message's headers, other than the known fields of PUBLISH and DELIVER. Twice `rangesMax`, so that the
   * longest list of ranges fits, and some for what stands around it. A frame of empty maps then builds 14 MB at most (measured: 108 bytes each).
   */
  elementsMax: 132_096,
  /** Values in one body of content type `application/msgpack`. A body of empty maps then builds some 230 MB at most. */
  bodyElementsMax: 2_097_152,
  /** Nested arrays and maps in such a body. */
  bodyDepthMax: 128,
  /** Characters of a name; see `names.ts`. */
  nameLengthMax: 200,
  /** Bytes of a routing key, of a binding's key, and of each text in a binding's headers, in UTF-8. */
  routingKeyLengthMax: 255,
  /** Headers of one binding. */
  bindingHeadersMax: 32,
  /** Bytes of a dedup key in UTF-8. */
  dedupKeyLengthMax: 200,
  /** Bytes of a content type, which is printable ASCII (0x20-0x7e). */
  contentTypeLengthMax: 200,
  /** Messages of a rate, and its burst; ms of its period: 30 days. */
  rateCountMax: 1_000_000,
  ratePeriodMsMax: 2_592_000_000,
  /** Bytes of the key of a rate limit in UTF-8. */
  rateKeyLengthMax: 200,
  /** Rate limits that are declared or overridden, and their keys that messages bear. */
  rateLimitsMax: 10_000,
  rateKeysMax: 262_144,
  /** Characters of a nack's reason; the wire counts bytes of UTF-8, four times as many at most. */
  reasonLengthMax: 1_000,
  /** Highest priority; 0 is the lowest, 255 the most urgent. */
  priorityMax: 255,
  /** ms of the longest delay, expiry, or backoff: ten years. */
  delayMsMax: 315_360_000_000,
  /** Deliveries that a consumer may hold unsettled; 0 in CONSUME means unlimited. */
  prefetchMax: 65_535,
  /** Queues of one consumer. */
  consumerQueuesMax: 10_000,
  /** Consumers of one session. */
  consumersMax: 10_000,
  /** Weight of a queue in weighted order. */
  weightMax: 1_000,
  /** ms between heartbeats. */
  heartbeatMs: 20_000,
  heartbeatMsMin: 100,
  heartbeatMsMax: 600_000,
  /** Heartbeats that may be missed in a row; the session ends at this one. */
  heartbeatMisses: 2,
  /** Entries in a message's history as a dead letter. */
  deadLettersMax: 16,
  /** Workers that one connection announces; queues, tasks and unknown tasks that each names; answers of workers that one connection awaits. */
  sessionWorkersMax: 16,
  workerQueuesMax: 1_000,
  workerTasksMax: 2_000,
  workerUnknownMax: 100,
  workerControlsMax: 100,
  /** Failed attempts of a message that are remembered, and characters of the reason of each. */
  failuresMax: 5,
  failureReasonMax: 200,
  /** Names per page of a listing. */
  pageMax: 1_000,
  /** Ids in one request about messages. */
  messageIdsMax: 1_000,
  /** Messages of one peek. */
  peekMax: 32,
  /** Bytes of a body that a peek shows. */
  peekBodyMax: 65_536,
  /** Patterns of a token for one right. */
  patternsMax: 32,
  /** Tokens of a broker. */
  tokensMax: 10_000,
  /** Namespaces that are set. */
  namespacesMax: 10_000,
} as const;
