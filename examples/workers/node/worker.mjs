#!/usr/bin/env node
// A Safelight worker for Node 18 or newer, without packages: takes tasks, runs
// guetzli on their pictures, gives the results back. README.md tells the protocol.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const env = process.env;
const server = env.SAFELIGHT_SERVER || "http://127.0.0.1:8080";
const functions = (env.FUNCTIONS || "guetzli").split(",");
const guetzli = env.GUETZLI || "guetzli";
const worker = env.WORKER || `node-${process.pid}`;
const lease = parseInt(env.LEASE || "30"); // seconds
let left = env.MAX_TASKS ? parseInt(env.MAX_TASKS) : Infinity;

// SIGTERM and SIGINT end whatever the worker waits for.
const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => stop.abort());

class Lost extends Error {} // the task is no longer ours: its lease is lost, or it was cancelled
class Unanswered extends Lost {} // the server is not there, and the lease will run out
class Refused extends Error {} // the server will not have the request, however often it is made

// call answers a Buffer. What may pass is tried again after a growing pause.
async function call(method, url, body, { tries = 5, timeout = 60, signal = stop.signal } = {}) {
  const headers = env.SAFELIGHT_KEY ? { Authorization: `Bearer ${env.SAFELIGHT_KEY}` } : {};
  if (body) headers["Content-Type"] = Buffer.isBuffer(body) ? "image/jpeg" : "application/json";
  if (body && !Buffer.isBuffer(body)) body = JSON.stringify(body);
  for (let pause = 1; ; pause = Math.min(2 * pause, 30)) {
    let problem;
    const once = new AbortController();
    const timer = setTimeout(() => once.abort(), timeout * 1000);
    const pass = () => once.abort();
    signal?.addEventListener("abort", pass);
    try {
      signal?.throwIfAborted();
      const answer = await fetch(url, { method, headers, body, signal: once.signal });
      const bytes = Buffer.from(await answer.arrayBuffer());
      if (answer.ok) return bytes;
      problem = `${answer.status} ${bytes.subarray(0, 500)}`;
      if (answer.status === 409) throw new Lost(problem);
      if (answer.status < 500 && answer.status !== 429) throw new Refused(problem);
    } catch (e) {
      if (e instanceof Lost || e instanceof Refused || signal?.aborted) throw e;
      problem = String(e.cause || e);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", pass);
    }
    if (--tries <= 0) throw new Unanswered(problem);
    await sleep(pause * 1000, null, { signal: signal ?? undefined });
  }
}

// heartbeat extends the lease. One that gets no answer is not repeated: the next is near.
async function heartbeat(task, begun) {
  const seconds = Math.floor((Date.now() - begun) / 1000);
  // Guetzli does not tell how far it is; this guess nears 99 and never reaches it.
  const body = { progress: Math.floor((99 * seconds) / (seconds + 30)), message: `guetzli, ${seconds} s`, extend: `${lease}s` };
  try {
    await call("POST", task.urls.heartbeat, body, { tries: 1, timeout: Math.max(lease / 3, 1) });
  } catch (e) {
    if (!(e instanceof Unanswered)) throw e;
  }
}

// encode runs guetzli, with a heartbeat at every third of the lease, so that two
// may be lost before the lease is. It answers undefined, or what went wrong.
async function encode(task, source, output) {
  const begun = Date.now();
  const args = ["--quality", String(task.args?.quality || 90), source, output];
  // detached: a process group of its own, to be killed with its children if it has any
  const child = spawn(guetzli, args, { detached: true, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (data) => (stderr = (stderr + data).slice(-2000)));
  const ended = new Promise((done) => {
    child.on("error", (e) => done(String(e)));
    child.on("close", (code, signal) => done(code === 0 ? "" : `guetzli, status ${code ?? signal}: ${stderr}`));
  });
  try {
    for (;;) {
      const nap = new AbortController();
      const pass = () => nap.abort();
      stop.signal.addEventListener("abort", pass);
      const error = await Promise.race([ended, sleep((lease * 1000) / 3, undefined, { signal: nap.signal }).catch(() => {})]);
      nap.abort();
      stop.signal.removeEventListener("abort", pass);
      if (error) return error;
      stop.signal.throwIfAborted();
      await heartbeat(task, begun); // the last one, after the end, leaves a whole lease for the upload
      if (error === "") return;
    }
  } catch (e) {
    if (child.pid) try { process.kill(-child.pid, "SIGKILL"); } catch {} // it may have ended by itself
    await ended;
    throw e;
  }
}

async function work(task, folder) {
  const source = join(folder, "input"), output = join(folder, "output");
  const before = await call("GET", task.urls.input);
  await writeFile(source, before);
  const error = await encode(task, source, output);
  if (error) return { outcome: "failed", error, final: false };
  const after = await readFile(output);
  await call("PUT", task.urls.output, after);
  return { outcome: "done", result: { before: before.length, after: after.length } };
}

async function take(task) {
  const folder = await mkdtemp(join(tmpdir(), "worker-"));
  try {
    const report = await work(task, folder).catch((e) => {
      if (e instanceof Lost) throw e;
      if (stop.signal.aborted) return { outcome: "later", delay: "0s" };
      return { outcome: "failed", error: String(e.message), final: false };
    });
    await call("POST", task.urls.report, report, { signal: null }); // to be heard even when we stop
    console.log(`task ${task.id}: ${report.outcome}`);
  } catch (e) {
    console.log(`task ${task.id}: dropped: ${e.message}`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

try {
  const claim = { functions, max: 1, wait: "20s", lease: `${lease}s`, worker };
  while (left > 0 && !stop.signal.aborted) {
    const answer = await call("POST", `${server}/v1/worker/claim`, claim, { tries: Infinity, timeout: 40 });
    for (const task of JSON.parse(answer).tasks) {
      left--;
      await take(task);
    }
  }
} catch (e) {
  // Stopped between tasks; one that was on its way goes back when its lease ends.
  if (!stop.signal.aborted) {
    console.error(`the claim was refused: ${e.message}`);
    process.exitCode = 1;
  }
}
