/**
 * Ends the children of a worker that was killed: one whose event loop is blocked does not notice that its parent is gone. A shell reads from a pipe who lives;
 * when the pipe ends, because this process has, it kills whoever is left. Some 1 MiB for all children, where a thread in each of them that looks
 * after its parent takes 9 MiB (measured). Where there is no `/bin/sh`, blocked children go on until their event loop is free.
 */
import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

const SCRIPT = `
alive=
while read -r change id; do
  case $change in
    +) alive="$alive $id" ;;
    -) left=; for other in $alive; do [ "$other" = "$id" ] || left="$left $other"; done; alive=$left ;;
  esac
done
[ -z "$alive" ] || kill -9 $alive`;

/** Null before the first child, and where there is no shell. */
let pipe: Socket | null = null;
let isTried = false;

/** This child ends with this process, whatever it does. */
export function guard(pid: number): void {
  if (!isTried) start();
  pipe?.write(`+ ${pid}\n`);
}

/** It has ended; its number may soon be another one's. */
export function unguard(pid: number): void {
  pipe?.write(`- ${pid}\n`);
}

/** In a session of its own, so that no Ctrl-C reaches it; it keeps nobody alive. */
function start(): void {
  isTried = true;
  if (process.platform === 'win32') return;
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { stdio: ['pipe', 'ignore', 'ignore'], detached: true, env: {} });
  const stdin = shell.stdin as unknown as Socket;
  const lost = (): void => {
    pipe = null;
  };
  shell.on('error', lost).on('exit', lost).unref();
  stdin.on('error', lost).unref();
  pipe = stdin;
}
