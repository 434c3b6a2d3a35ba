/** Something that should not happen, and that whoever is at work wants to hear of at once. */
export class Mishap {
  /** Rejects when it has happened; never resolves. */
  readonly happened: Promise<never>;
  #reject: (error: Error) => void = () => undefined;

  constructor() {
    this.happened = new Promise((_, reject) => {
      this.#reject = reject;
    });
    // Nobody need be listening.
    this.happened.catch(() => undefined);
  }

  readonly tell = (error: Error): void => this.#reject(error);
}
