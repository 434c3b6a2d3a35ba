// hot path
/**
 * One connection to beanstalkd. Answers come in the order of the commands, so each command waits in a line for its own.
 *
 *     put 0 0 60 5\r\nhello\r\n   ->  INSERTED 17\r\n
 *     reserve\r\n                 ->  RESERVED 17 5\r\nhello\r\n
 *     delete 17\r\n               ->  DELETED\r\n
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Called with the words of the answer, and with its body if it has one. */
export type AnswerHandler = (words: readonly string[], body: Buffer) => void;

const LINE_END = Buffer.from('\r\n');
const NO_BODY = Buffer.alloc(0);

export class BeanstalkdConnection {
  readonly #socket: Socket;
  readonly #waiting: AnswerHandler[] = [];
  #unread: Buffer = NO_BODY;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (bytes: Buffer) => this.#received(bytes));
  }

  static async open(port: number): Promise<BeanstalkdConnection> {
    const socket = connect(port, '127.0.0.1').setNoDelay();
    await once(socket, 'connect');
    return new BeanstalkdConnection(socket);
  }

  send(command: string, body: Uint8Array | null, handler: AnswerHandler): void {
    this.#waiting.push(handler);
    if (body === null) {
      this.#socket.write(`${command}\r\n`);
      return;
    }
    this.#socket.write(Buffer.concat([Buffer.from(`${command}\r\n`), body, LINE_END]));
  }

  /** Sends a command and waits for the answer that it should have; rejects with any other. */
  ask(command: string, expected: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.send(command, null, ([word]) => (word === expected ? resolve() : reject(new Error(`beanstalkd: ${word}`))));
    });
  }

  /** Commands without an answer yet are given up. */
  close(): void {
    this.#socket.destroy();
  }

  #received(bytes: Buffer): void {
    const unread = this.#unread.length === 0 ? bytes : Buffer.concat([this.#unread, bytes]);
    let at = 0;
    for (;;) {
      const end = unread.indexOf(LINE_END, at);
      if (end < 0) break;
      const words = unread.toString('latin1', at, end).split(' ');
      const bodyStart = end + LINE_END.length;
      const bodyBytes = words[0] === 'RESERVED' ? Number(words[2]) : -1;
      const next = bodyBytes < 0 ? bodyStart : bodyStart + bodyBytes + LINE_END.length;
      if (next > unread.length) break;
      at = next;
      this.#waiting.shift()!(words, bodyBytes < 0 ? NO_BODY : unread.subarray(bodyStart, bodyStart + bodyBytes));
    }
    this.#unread = unread.subarray(at);
  }
}
