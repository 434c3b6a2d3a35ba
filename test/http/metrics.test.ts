import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createHttp, type Http, QUEUE_SERIES_MAX } from '../../server/http/index.js';
import { doorOf } from './door-of.js';
import { FakeView, queueInfo } from './fake-view.js';

let view: FakeView;
let http: Http;
beforeEach(() => {
  view = new FakeView();
  http = createHttp({ view, ...doorOf(), allowedHosts: null, tls: null });
});
afterEach(() => http.close());

async function scrape(): Promise<string[]> {
  const answer = await http.fastify.inject('/metrics');
  expect(answer.statusCode).toBe(200);
  expect(answer.headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
  return answer.body.split('\n');
}

describe('metrics', () => {
  test('are the numbers that the broker has at the moment', async () => {
    view.list = [queueInfo('sms', 7)];
    expect(await scrape()).toEqual(
      expect.arrayContaining([
        'lovage_info{version="1.2.3",sync_class="always"} 1',
        'lovage_ready 1',
        'lovage_connections 4',
        'lovage_sessions 5',
        'lovage_consumers 6',
        'lovage_queues 1',
        'lovage_unsettled_messages 5',
        'lovage_messages{state="ready"} 7',
        'lovage_messages{state="delayed"} 5',
        'lovage_messages{state="leased"} 3',
        'lovage_messages{state="started"} 2',
        'lovage_queue_messages{namespace="default",queue="sms",state="ready"} 7',
        'lovage_messages_published_total 100',
        'lovage_messages_delivered_total 90',
        'lovage_messages_acked_total 80',
        'lovage_messages_returned_total 4',
        'lovage_messages_dropped_total 3',
        'lovage_messages_expired_total 2',
        'lovage_messages_purged_total 1',
        'lovage_messages_duplicates_total 8',
        'lovage_messages_dead_lettered_total 11',
        'lovage_messages_evicted_total 12',
        'lovage_messages_exhausted_total 13',
        'lovage_messages_archived_total 16',
        'lovage_archive_results 21',
        'lovage_archive_result_bytes 22',
        'lovage_archive_file_bytes 23',
        'lovage_archive_failures_total 24',
        'lovage_messages_arrived_total 14',
        'lovage_messages_moved_total 15',
        'lovage_messages_refused_total 9',
        'lovage_journal_segments 2',
        'lovage_journal_bytes 4096',
        'lovage_journal_reserved_bytes 512',
        'lovage_journal_syncs_total 11',
        'lovage_journal_full 0',
      ]),
    );
  });

  test('do not add up over scrapes, and forget queues that are gone', async () => {
    view.list = [queueInfo('old', 1)];
    await scrape();
    view.list = [queueInfo('new', 2)];
    view.isStopping = true;
    const lines = await scrape();
    expect(lines).toContain('lovage_messages_published_total 100');
    expect(lines).toContain('lovage_ready 0');
    expect(lines.join('\n')).toContain('queue="new"');
    expect(lines.join('\n')).not.toContain('queue="old"');
  });

  test('have series of their own for some queues and one sum for the rest', async () => {
    view.list = Array.from({ length: QUEUE_SERIES_MAX + 50 }, (_, i) => queueInfo(`q${String(i).padStart(4, '0')}`, 2));
    view.messages.ready = 2 * view.list.length;
    const lines = (await scrape()).filter((line) => line.startsWith('lovage_queue_messages{'));
    expect(lines).toHaveLength((QUEUE_SERIES_MAX + 1) * 4);
    expect(lines).toContain('lovage_queue_messages{namespace="",queue="_other",state="ready"} 100');
  });

  test('have no sum of others when every queue has its own series', async () => {
    view.list = Array.from({ length: QUEUE_SERIES_MAX }, (_, i) => queueInfo(`q${i}`, 2));
    expect((await scrape()).join('\n')).not.toContain('_other');
  });

  test('count each sync of the journal in a histogram', async () => {
    for (const ms of [0.2, 3, 3, 7_000]) view.observe(ms);
    const lines = await scrape();
    expect(lines).toContain('lovage_journal_sync_seconds_bucket{le="0.00025"} 1');
    expect(lines).toContain('lovage_journal_sync_seconds_bucket{le="0.005"} 3');
    expect(lines).toContain('lovage_journal_sync_seconds_count 4');
  });

  test('tell how the process does', async () => {
    const text = (await scrape()).join('\n');
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
    expect(text).toContain('process_resident_memory_bytes');
  });
});
