"""The no-op task of Celery. Run by itself it is the producer; `celery worker` loads it, too.

LOVAGE_BENCH_BROKER is the URL of RabbitMQ. LOVAGE_BENCH_DONE is a file that gets a byte for each task that has run:
a write of one byte takes about a microsecond, and works across the children of the worker.
"""
import os
import sys
import time

from celery import Celery
from celery.signals import worker_ready

app = Celery('celery_noop', broker=os.environ['LOVAGE_BENCH_BROKER'])
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=128,
    worker_redirect_stdouts=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
done = os.open(os.environ['LOVAGE_BENCH_DONE'], os.O_WRONLY | os.O_CREAT | os.O_APPEND)


@app.task(name='noop')
def noop():
    os.write(done, b'.')


@worker_ready.connect
def tell_ready(**_):
    print('ready', flush=True)


def produce():
    print('ready', flush=True)
    for line in sys.stdin:
        start_ms = time.monotonic() * 1000
        for _ in range(int(line)):
            noop.delay()
        print(start_ms, flush=True)


if __name__ == '__main__':
    produce()
