// hot path
/**
 * Topic patterns and where they lead, one node a word. A key is looked up by its words: at each the nodes that a pattern could be at by now go
 * one step further, so that the cost lies in the key and in the wildcards that fit it, not in the number of patterns.
 *
 *     patterns   a.b   a.*   a.#   #.b            key a.b
 *
 *     root ── a ──┬── b  {1}                      before   root, # {4}
 *      │          ├── *  {2}                      a        a, a.#, # {4}
 *      │          └── #  {3}                      b        a.b {1}, a.* {2}, a.# {3}, #.b {4}, # {4}
 *      └── # ── b {4}
 *
 * A `#` stands for no word as well: whoever reaches a node reaches the `#` below it at once, and stays there for every word that follows.
 */
class Node<T> {
  readonly parent: Node<T> | null;
  readonly word: string;
  readonly isHash: boolean;
  children: Map<string, Node<T>> | null = null;
  star: Node<T> | null = null;
  hash: Node<T> | null = null;
  values: Set<T> | null = null;
  /** The step of the lookup at which it was reached last: no node is followed twice in one step. */
  step = 0;

  constructor(parent: Node<T> | null, word: string) {
    this.parent = parent;
    this.word = word;
    this.isHash = word === '#';
  }

  get isEmpty(): boolean {
    return this.values === null && this.children === null && this.star === null && this.hash === null;
  }
}

export class TopicTrie<T> {
  readonly #root = new Node<T>(null, '');
  #step = 0;
  #size = 0;
  #reached: Node<T>[] = [];
  #next: Node<T>[] = [];

  /** Pairs of pattern and value. */
  get size(): number {
    return this.#size;
  }

  /** Adds a value to a pattern; false if the pattern has it. */
  add(pattern: readonly string[], value: T): boolean {
    let node = this.#root;
    for (const word of pattern) node = childOf(node, word) ?? addChild(node, word);
    node.values ??= new Set();
    if (node.values.has(value)) return false;
    node.values.add(value);
    this.#size++;
    return true;
  }

  /** Removes a value from a pattern, and the nodes that lead nowhere then; false if the pattern did not have it. */
  delete(pattern: readonly string[], value: T): boolean {
    let node: Node<T> | null = this.#root;
    for (const word of pattern) {
      node = childOf(node, word);
      if (node === null) return false;
    }
    if (node.values?.delete(value) !== true) return false;
    this.#size--;
    if (node.values.size === 0) node.values = null;
    for (let at = node; at.parent !== null && at.isEmpty; at = at.parent) removeChild(at.parent, at.word);
    return true;
  }

  /** Calls `visit` with each value whose pattern a key of these words matches; with a value once for each such pattern. */
  match(words: readonly string[], visit: (value: T) => void): void {
    let reached = this.#reached;
    let next = this.#next;
    reached.length = 0;
    this.#step++;
    this.#reach(this.#root, reached);
    for (const word of words) {
      next.length = 0;
      this.#step++;
      for (const node of reached) {
        const child = node.children?.get(word);
        if (child !== undefined) this.#reach(child, next);
        if (node.star !== null) this.#reach(node.star, next);
        if (node.isHash) this.#reach(node, next);
      }
      const before = reached;
      reached = next;
      next = before;
    }
    for (const node of reached) if (node.values !== null) for (const value of node.values) visit(value);
  }

  #reach(node: Node<T>, into: Node<T>[]): void {
    for (let at: Node<T> | null = node; at !== null && at.step !== this.#step; at = at.hash) {
      at.step = this.#step;
      into.push(at);
    }
  }
}

function childOf<T>(node: Node<T>, word: string): Node<T> | null {
  if (word === '*') return node.star;
  if (word === '#') return node.hash;
  return node.children?.get(word) ?? null;
}

function addChild<T>(node: Node<T>, word: string): Node<T> {
  const child = new Node(node, word);
  if (word === '*') node.star = child;
  else if (word === '#') node.hash = child;
  else {
    node.children ??= new Map();
    node.children.set(word, child);
  }
  return child;
}

function removeChild<T>(node: Node<T>, word: string): void {
  if (word === '*') node.star = null;
  else if (word === '#') node.hash = null;
  else {
    node.children!.delete(word);
    if (node.children!.size === 0) node.children = null;
  }
}
