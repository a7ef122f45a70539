#!/usr/bin/env python3
"""A Safelight worker with nothing but Python's standard library (3.9 or newer):
takes tasks, runs guetzli on their pictures, gives the results back. README.md
tells the protocol."""
import http.client, json, os, signal, subprocess, sys, tempfile, time, urllib.error, urllib.request

SERVER = os.environ.get("SAFELIGHT_SERVER", "http://127.0.0.1:8080")
KEY = os.environ.get("SAFELIGHT_KEY", "")
FUNCTIONS = os.environ.get("FUNCTIONS", "guetzli").split(",")
GUETZLI = os.environ.get("GUETZLI", "guetzli")
WORKER = os.environ.get("WORKER", f"python-{os.getpid()}")
LEASE = int(os.environ.get("LEASE", "30").rstrip("s"))  # seconds
MAX_TASKS = int(os.environ.get("MAX_TASKS", "-1"))


class Stop(BaseException):
    """SIGTERM or SIGINT came. Raised out of whatever the worker waits for."""


SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop(*_):
    for sig in SIGNALS:
        signal.signal(sig, signal.SIG_IGN)  # so that giving back isn't interrupted
    raise Stop


class Lost(Exception):
    """The task is no longer ours: its lease is lost, or it was cancelled."""


class Unanswered(Lost):
    """The server is not there, and the lease will run out."""


class Refused(Exception):
    """The server will not have the request, however often it is made."""


def call(method, url, body=None, tries=5, timeout=60):
    """Answers the body. What may pass is tried again after a growing pause."""
    headers = {"Authorization": f"Bearer {KEY}"} if KEY else {}
    if isinstance(body, dict):
        body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    elif body is not None:
        headers["Content-Type"] = "image/jpeg"
    pause = 1
    while True:
        try:
            request = urllib.request.Request(url, body, headers, method=method)
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.read()
        except urllib.error.HTTPError as e:
            problem = f"{e.code} {e.read(500).decode(errors='replace')}"
            if e.code == 409:
                raise Lost(problem) from None
            if e.code < 500 and e.code != 429:
                raise Refused(problem) from None
        except (OSError, http.client.HTTPException) as e:  # no connection, half an answer, timeout
            problem = repr(e)
        tries -= 1
        if tries == 0:
            raise Unanswered(problem)
        time.sleep(pause)
        pause = min(2 * pause, 30)


def heartbeat(task, begun):
    """Extends the lease. One that gets no answer is not repeated: the next is near."""
    seconds = int(time.monotonic() - begun)
    # Guetzli does not tell how far it is; this guess nears 99 and never reaches it.
    body = {"progress": 99 * seconds // (seconds + 30), "message": f"guetzli, {seconds} s", "extend": f"{LEASE}s"}
    try:
        call("POST", task["urls"]["heartbeat"], body, tries=1, timeout=max(LEASE / 3, 1))
    except Unanswered:
        pass


def encode(task, source, output):
    """Runs guetzli, with a heartbeat at every third of the lease, so that two
    may be lost before the lease is. Answers None, or what went wrong."""
    quality = str((task.get("args") or {}).get("quality") or 90)
    begun = time.monotonic()
    with tempfile.TemporaryFile() as stderr:
        # A session of its own, to be killed with its children if it has any.
        process = subprocess.Popen([GUETZLI, "--quality", quality, source, output], start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
        try:
            while True:
                try:
                    status = process.wait(LEASE / 3)
                    break
                except subprocess.TimeoutExpired:
                    heartbeat(task, begun)
        except BaseException:  # Stop, Lost, Refused
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if status != 0:
            stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 2000))
            return f"guetzli, status {status}: {stderr.read().decode(errors='replace')}"
    heartbeat(task, begun)  # a whole lease for the upload


def work(task):
    with tempfile.TemporaryDirectory() as folder:
        source, output = os.path.join(folder, "input"), os.path.join(folder, "output")
        with open(source, "wb") as f:
            f.write(call("GET", task["urls"]["input"]))
        error = encode(task, source, output)
        if error:
            return {"outcome": "failed", "error": error, "final": False}
        with open(output, "rb") as f:
            call("PUT", task["urls"]["output"], f.read())
        return {"outcome": "done", "result": {"before": os.path.getsize(source), "after": os.path.getsize(output)}}


def take(task):
    """Does one task and reports. Answers whether to go on."""
    go_on = True
    try:
        try:
            report = work(task)
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a finished task is reported in full
        except (Refused, OSError) as e:
            report = {"outcome": "failed", "error": str(e), "final": False}
        except Stop:
            report, go_on = {"outcome": "later", "delay": "0s"}, False
        call("POST", task["urls"]["report"], report)
        print(f"task {task['id']}: {report['outcome']}", flush=True)
    except (Lost, Refused) as e:
        print(f"task {task['id']}: dropped: {e}", flush=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return go_on


def main():
    for sig in SIGNALS:
        signal.signal(sig, stop)
    claim = {"functions": FUNCTIONS, "max": 1, "wait": "20s", "lease": f"{LEASE}s", "worker": WORKER}
    left = MAX_TASKS
    while left != 0:
        for task in json.loads(call("POST", SERVER + "/v1/worker/claim", claim, tries=-1, timeout=40))["tasks"]:
            left -= 1
            if not take(task):
                return


if __name__ == "__main__":
    try:
        main()
    except Stop:  # between tasks; one that was on its way goes back when its lease ends
        pass
    except (Refused, Lost) as e:
        sys.exit(f"the claim was refused: {e}")
