"""In vLLM's place where its ends are tested: takes its command line, listens in a few milliseconds, dies as told."""

from __future__ import annotations

import sys
from pathlib import Path

_SCRIPT = """#!{python}
import argparse, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWERS, DIES, COUNTS, FOLDER = {answers}, {dies}, {counts}, {folder!r}
parser = argparse.ArgumentParser()
parser.add_argument("-m")
for name in ("model", "served-model-name", "host", "structured-outputs-config", "revision"):
    parser.add_argument("--" + name)
for name in ("port", "tensor-parallel-size"):
    parser.add_argument("--" + name, type=int)
parser.add_argument("--enable-prompt-tokens-details", action="store_true")
asked = parser.parse_args()
given = moved = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global moved
        moved += 1
        with open(FOLDER + "/asked", "a") as file:
            file.write("metrics\\n")
        self.say("vllm:generation_tokens_total %d" % (moved if COUNTS else 0))

    def do_POST(self):
        global given
        self.rfile.read(int(self.headers["Content-Length"]))
        if ANSWERS is not None and given >= ANSWERS:
            if DIES:
                print("torch.OutOfMemoryError: CUDA out of memory", file=sys.stderr, flush=True)
                os._exit(1)
            time.sleep(600)
        given += 1
        usage = dict(prompt_tokens=10, completion_tokens=5, total_tokens=15)
        message = dict(role="assistant", content=json.dumps(dict(label="sad")))
        choice = dict(index=0, message=message, finish_reason="stop")
        self.say(json.dumps(dict(model=asked.served_model_name, choices=[choice], usage=usage)))

    def say(self, text):
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *what):
        pass


with open(FOLDER + "/started", "a") as file:
    file.write("%d %s\\n" % (os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES", "-")))
server = ThreadingHTTPServer((asked.host, asked.port), Handler)
server.daemon_threads = True
server.serve_forever()
"""


def stand_in(folder: Path, *, answers: int | None = None, dies: bool = False, counts: bool = False) -> Path:
    """An executable to be named as ``llm.vllm.python``; it notes in ``folder`` when it is started and asked.

    Args:
        answers: so many, then it hangs; None = always.
        dies: it ends then instead.
        counts: its metrics show tokens that are being written.
    """
    path = folder / "python"
    text = _SCRIPT.format(python=sys.executable, answers=answers, dies=dies, counts=counts, folder=str(folder))
    path.write_text(text.replace("#!" + sys.executable, f"#!{sys.executable} -IS", 1))
    path.chmod(0o755)
    return path
