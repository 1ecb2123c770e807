"""The server: fifty requests at once, ten thousand texts in the box, and whatever its description allows.

Each line says how many were asked and how many were answered by something else than a figure or a message.
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median
from tempfile import TemporaryDirectory
from urllib.parse import quote

import weighbridge

AT_ONCE = 50
TEXTS = 10_000
ALPHABET = "()[]|*->→,x×:0123456789cwspkgd .+AaZ_é\n\t\x00\ud800😀"
LAYERS = (
    "(Conv)6c5w1s0p", "(Conv)6c3w1s1p", "(DWConv)3w1s1p", "(ReLU)", "(MaxPool)2w2s", "(fc)10", "(BN)", "(Softmax)",
    "(Flatten)", "(Dropout)", "(Embedding)100,8", "(LSTM)8", "(Attention)2h", "(LN)", "(Konv)1c", "(GAP)", "(Add)",
)  # fmt: skip


def main(names: list[str] | None = None) -> None:
    """A line a figure; `concurrent`, `fuzz`, `schemathesis` name one."""
    figures = {"concurrent": _concurrent, "fuzz": _fuzz, "schemathesis": _schemathesis}
    with _server() as port:
        for name in names or figures:
            figures[name](port)


@contextmanager
def _server():
    command = [
        sys.executable,
        "-c",
        "from weighbridge.cli import main; main()",
        "serve",
        "--port",
        "0",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        line = running.stderr.readline()
        yield int(line.rpartition(":")[2].split("/")[0]) if "http://" in line else _failed(line)
    finally:
        running.terminate()
        running.wait(30)


def _failed(line):
    raise SystemExit(f"the server did not start: {line}")


def _concurrent(port):
    names = weighbridge.networks("zoo")["zoo"]
    asked = [
        f"/api/weigh?model={quote(names[at % len(names)])}&train=adamw" for at in range(AT_ONCE)
    ]

    def ask(path):
        began = time.perf_counter()
        status, _ = _ask(http.client.HTTPConnection("127.0.0.1", port, timeout=300), "GET", path)
        return status, time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = list(threads.map(ask, asked))
    whole = time.perf_counter() - began
    failed = sum(status != 200 for status, _ in found)
    seconds = [each for _, each in found]
    print(
        f"{AT_ONCE} zoo networks at once: {failed} failed; all within {whole:.1f} s, "
        f"half of them within {median(seconds):.1f} s",
        flush=True,
    )


def _fuzz(port):
    chance = random.Random(6)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    statuses: Counter[int] = Counter()
    read, began = 0, time.perf_counter()
    for _ in range(TEXTS):
        body = json.dumps({"text": _text(chance)})
        status, content = _ask(connection, "POST", "/api/notation", body)
        statuses[status] += 1
        read += status == 200 and json.loads(content)["error"] is None
    bad = sum(count for status, count in statuses.items() if status not in (200, 422))
    print(
        f"{TEXTS:,} texts in the box: {bad} crashed it; {read:,} were networks, {statuses[422]} too much for it, "
        f"the rest had a message; {time.perf_counter() - began:.0f} s",
        flush=True,
    )


def _text(chance):
    """A network by the grammar, as it is or with a few characters changed; or characters alone."""
    if chance.random() < 0.1:
        return "".join(chance.choices(ALPHABET, k=chance.randrange(200)))
    text = f"(Input)({','.join(str(chance.randrange(40)) for _ in range(chance.randint(1, 4)))})->"
    letters = list(text + _chain(chance, 3))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        at = chance.randrange(len(letters) + 1)
        letters[at : at + chance.randrange(3)] = chance.choices(ALPHABET, k=chance.randrange(3))
    return "".join(letters)


def _chain(chance, depth):
    return "->".join(_item(chance, depth) for _ in range(chance.randint(1, 4)))


def _item(chance, depth):
    if depth == 0 or chance.random() < 0.6:
        return chance.choice(LAYERS)
    if chance.random() < 0.3:
        return f"{chance.choice((0, 1, 2, 3, 1000, 10**9))}*[{_chain(chance, depth - 1)}]"
    branches = " | ".join(
        _chain(chance, depth - 1) if chance.random() < 0.8 else ""
        for _ in range(chance.randint(1, 3))
    )
    label = chance.choice(("", "", "stem: "))
    return f"{label}{chance.choice(('add', 'cat', 'mul', 'dense', ''))}[{branches}]"


def _ask(connection, method, path, body=None):
    headers = {} if body is None else {"content-type": "application/json"}
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def _schemathesis(port):
    if find_spec("schemathesis") is None:
        print("schemathesis is not installed: pip install schemathesis")
        return
    with TemporaryDirectory() as folder:  # where it keeps notes
        done = _examined(port, folder)
    summary = [line.strip() for line in done.stdout.splitlines() if "generated," in line]
    print(f"schemathesis: exit code {done.returncode}; {'; '.join(summary) or done.stdout[-2000:]}")


def _examined(port, folder):
    return subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json",
            "--checks", "not_a_server_error", "--max-examples", "50", "--seed", "6", "--request-timeout", "90",
            "--no-color",
        ],
        capture_output=True, text=True, check=False, cwd=folder,
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:] or None)
