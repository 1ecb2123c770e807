"""The server: what it answers, what it refuses, and that one request that goes wrong takes no other with it."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

import weighbridge
from weighbridge import server
from weighbridge.cli import main
from weighbridge.errors import UsageError, WeighError
from weighbridge.server import asking
from weighbridge.workload import PRECISIONS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
hypothesis = pytest.importorskip("hypothesis")
testclient = pytest.importorskip("starlette.testclient")

from weighbridge.server.app import UPLOADS, application  # noqa: E402 - needs starlette
from weighbridge.server.pool import Limits, Pool  # noqa: E402

pytestmark = pytest.mark.xdist_group("serve")

HERE = "http://127.0.0.1:8147"
BERT = {
    "model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 2, "intermediate_size": 128, "vocab_size": 1000,
}  # fmt: skip
# nearly as many layers as notation takes, which is minutes and gigabytes
ENDLESS = "(Input)(3,8,8)->99999*[(Conv)3c3w1s1p]"


def client(**limits):
    app = application(host="127.0.0.1", limits=Limits(**{"workers": 1, **limits}))
    return testclient.TestClient(app, base_url=HERE, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def asked():
    with client() as found:
        yield found


def said(answer, status=400):
    """The one message of an answer that is an error."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    assert "internal error" not in error["message"]
    return error


# -- what it answers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "arguments", "settings"),
    [
        ("model=lenet5", ("lenet5",), {}),
        (
            "model=resnet18&batch=8&train=adamw&on=rtx-4090&precision=amp-bf16",
            ("resnet18",),
            {"batch": 8, "train": "adamw", "on": "rtx-4090", "precision": "amp-bf16"},
        ),
        (
            "model=vgg11&input=3,64,64&convention=exact",
            ("vgg11", "3,64,64"),
            {"convention": "exact"},
        ),
        ("model=(Input)(3,32,32)-%3E(Conv)6c5w1s0p", ("(Input)(3,32,32)->(Conv)6c5w1s0p",), {}),
    ],
)
def test_figures_are_those_of_the_function(asked, query, arguments, settings):
    answer = asked.get(f"/api/weigh?{query}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == weighbridge.weigh(*arguments, **settings).to_dict()


def test_the_page_is_that_of_the_report(asked):
    answer = asked.get("/page?model=lenet5&batch=4&train=sgd")
    assert answer.status_code == 200
    assert answer.text == weighbridge.weigh("lenet5", batch=4, train="sgd").page()
    policy = answer.headers["content-security-policy"]
    # the page's own policy, and in no frame but ours
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; .*frame-ancestors 'self'", policy
    )  # fmt: skip


def test_a_page_that_cannot_be_made_says_so_as_a_page(asked):
    answer = asked.get("/page", params={"model": "resnet5O"})
    assert answer.status_code == 400
    assert "no network is called &#x27;resnet5O&#x27;" in answer.text
    answer = asked.get("/page", params={"model": "<script>"})
    assert answer.status_code == 400
    assert "<script>" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_lists_are_those_of_the_command(asked):
    assert asked.get("/api/networks").json()["zoo"] == list(weighbridge.networks("zoo")["zoo"])
    keys = {device["key"] for device in asked.get("/api/devices").json()["devices"]}
    assert {"rtx-4090", "a100-80gb"} <= keys


def test_the_box_offers_every_precision(asked):
    offered = re.search(r'<select id="precision">(.*?)</select>', asked.get("/").text)
    assert offered is not None
    assert set(re.findall(r">([\w-]+)</option>", offered[1])) == set(PRECISIONS)


def test_notation_is_read_as_it_is_typed(asked):
    found = asked.post("/api/notation", json={"text": "(Input)(3,224,224)->(Conv)6c5w1s0p"}).json()
    # 6 kernels of 5 x 5 x 3 and a bias; 220 x 220 places; L12
    assert found["params"] == 6 * (5 * 5 * 3 + 1)
    assert found["macs"] == 220 * 220 * 6 * 5 * 5 * 3
    assert found["output"] == [1, 6, 220, 220]
    assert found["error"] is None


def test_notation_is_read_of_an_input_of_the_sizes_beside_it(asked):
    body = {"text": "(Conv)6c5w1s0p", "input": ["3,224,224"]}
    # 224 - 5 + 1 = 220 places either way
    assert asked.post("/api/notation", json=body).json()["output"] == [1, 6, 220, 220]
    error = asked.post("/api/notation", json={**body, "input": ["3,2,2"]}).json()["error"]
    assert "the kernel covers 5" in "".join([error["message"], *error["hints"]])
    for wrong in ("3,8,8", [3, 8, 8], {"input": 3}, ["3" * (asking.LONGEST + 1)]):
        answer = asked.post("/api/notation", json={**body, "input": wrong})
        assert answer.status_code == 400
        assert "as a list of texts" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("(Input)(3,224,224)->(Konv)6c5w1s0p", 21, "no layer is called (Konv)"),
        ("(Input)(3,32,32)->(fc)10->(Conv)6c5w1s0p", 26, "needs an image"),
        ("nothing", 0, "was expected"),
    ],
)
def test_an_error_of_notation_has_its_place(asked, text, position, message):
    error = asked.post("/api/notation", json={"text": text}).json()["error"]
    assert error["position"] == position
    assert message in error["message"] + " ".join(error["hints"])


@pytest.mark.torch
def test_an_upload_is_a_network_with_a_name(asked):
    pytest.importorskip("transformers")
    name = asked.post("/api/upload", json=BERT).json()["model"]
    assert re.fullmatch(r"upload:[0-9a-f]{16}", name)
    record = asked.get("/api/weigh", params={"model": name, "input": "seq=16"}).json()
    assert record["network"]["name"] == "BertForMaskedLM"
    # embeddings: (1000 + 512 + 2) x 64 and a norm; a block: 4 x (64 x 64 + 64) + 64 x 128 + 128 + 128 x 64 + 64
    # and two norms; the head: 64 x 64 + 64, a norm, 1000 biases
    block = 4 * (64 * 64 + 64) + 64 * 128 + 128 + 128 * 64 + 64 + 4 * 64
    expected = 1514 * 64 + 128 + 2 * block + 64 * 64 + 64 + 128 + 1000
    assert record["parameters"]["total"] == expected
    assert asked.get("/page", params={"model": name}).status_code == 200


def test_only_so_many_uploads_are_kept():
    with client() as asked:
        names = [
            asked.post("/api/upload", json={**BERT, "vocab_size": size}).json()["model"]
            for size in range(1, UPLOADS + 2)
        ]
        error = said(asked.get("/api/weigh", params={"model": names[0]}))
        assert error["message"].startswith("nothing was uploaded as")


# -- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "no model is given"),
        ("model=", "'' is neither a name nor notation"),
        ("model=resnet5O", "no network is called 'resnet5O'"),
        ("model=lenet5&model=vgg16", "model is given twice"),
        ("model=lenet5&spam=1", "no parameter is called 'spam'"),
        ("model=lenet5&batch=x", "batch is 'x', which is not a whole number from 1 on"),
        ("model=lenet5&batch=0", "the batch has 0, and a size is at least 1"),
        ("model=lenet5&batch=" + "9" * 5000, "batch is '999"),
        ("model=lenet5&train=spam", "no optimizer is called 'spam'"),
        ("model=lenet5&train=/tmp/x.py:make", "no optimizer is called '/tmp/x.py:make'"),
        ("model=lenet5&precision=x", "no precision is called 'x'"),
        ("model=lenet5&on=spam", "no device is called 'spam'"),
        ("model=lenet5&on=../../etc/passwd", "no device is called '../../etc/passwd'"),
        ("model=lenet5&input=a,b", "which is not a whole number"),
        ("model=" + "a" * 8001, "model has 8,001 characters; expected at most 8,000"),
        ("model=net.py:Net", "the server runs no Python"),
        ("model=/etc/passwd", "'/etc/passwd' is neither a name nor notation"),
        ("model=..", "'..' is neither a name nor notation"),
        ("model=hf:/etc", "the server opens no path"),
        ("model=hf:x-%3Ey", "the server opens no path"),
        ("model=timm:hf-hub:x/y", "'hf-hub:x/y' is no name of timm"),
        ("model=timm:local-dir:/etc", "is no name of timm"),
        ("model=torchvision:../x", "is no name of torchvision"),
        ("model=upload:0123", "nothing was uploaded as '0123'"),
        ("model=upload:../x", "is no name of upload"),
        ("model=model.pt", "no network is called 'model.pt'"),
        ("model=C:\\x.py", "the server runs no Python"),
        ("model=%00", "is neither a name nor notation"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, query, message):
    assert message in said(asked.get(f"/api/weigh?{query}"))["message"]


def test_a_shape_that_does_not_fit_cannot_be_weighed(asked):
    error = said(asked.get("/api/weigh?model=vgg16&input=3,7,7"), 422)
    assert "does not take an input of shape" in error["message"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04\x95", "this is a pickle or an archive of one"),
        (b"PK\x03\x04", "this is a pickle or an archive of one"),
        (b"import os", "this is not JSON"),
        (b"\xff\xfe", "this is not JSON"),
        (b"[" * 100_000, "this is not JSON"),
        (b"[]", "it has no model_type"),
        (b'{"model_type": 3}', "it has no model_type"),
        (b'{"model_type": "bert", "auto_map": {}}', "names code of its own (auto_map)"),
    ],
)
def test_uploads_that_are_no_configuration_are_refused(asked, content, message):
    answer = asked.post(
        "/api/upload", content=content, headers={"content-type": "application/json"}
    )
    assert message in said(answer)["message"]


def test_bodies_are_bounded_and_are_json(asked):
    kind = {"content-type": "application/json"}
    large = b" " * (asking.LARGEST_UPLOAD + 1)
    error = said(asked.post("/api/upload", content=large, headers=kind), 413)
    assert error["message"] == "the body is longer than 1,048,576 bytes"
    assert (
        "expected application/json"
        in said(asked.post("/api/upload", content=b"{}"), 415)["message"]
    )
    for body in (b"{", b"[]", b'{"text": 1}', json.dumps({"text": "x" * 8001}).encode()):
        said(asked.post("/api/notation", content=body, headers=kind))


def test_a_body_that_does_not_arrive_is_not_waited_for(monkeypatch):
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    from weighbridge.server import app

    monkeypatch.setattr(app, "SECONDS_TO_SEND", 0.05)

    async def never():
        await asyncio.sleep(60)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
    with pytest.raises(HTTPException, match="the body took longer than"):
        asyncio.run(app._body(Request(scope, never), 10))


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8147", "127.0.0.1.evil.example", "", "[::1", "127.0.0.1:x"],
)
def test_another_name_for_this_address_is_refused(asked, host):
    assert "this server is not" in said(asked.get("/", headers={"host": host}), 421)["message"]


@pytest.mark.parametrize("host", ["127.0.0.1:8147", "localhost:8147", "[::1]:8147", "LOCALHOST"])
def test_its_own_names_are_taken(asked, host):
    assert asked.get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_site_may_not_ask(asked, headers):
    assert (
        "another site asks"
        in said(asked.get("/api/weigh?model=lenet5", headers=headers), 403)["message"]
    )


def test_every_answer_is_closed_to_other_sites(asked):
    for path in (
        "/",
        "/box.css",
        "/box.js",
        "/openapi.json",
        "/api/networks",
        "/page?model=lenet5",
        "/nowhere",
    ):
        headers = asked.get(path, headers={"origin": HERE}).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; "), path
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control-")]
    said(asked.get("/nowhere"), 404)
    assert said(asked.post("/page"), 405)
    assert said(asked.get("/../../etc/passwd"), 404)


# -- one that goes wrong -------------------------------------------------------------------------


def test_one_that_takes_too_long_is_ended_and_the_next_is_answered():
    with client(seconds=6) as asked:
        began = time.monotonic()
        error = said(asked.get("/api/weigh", params={"model": ENDLESS}), 422)
        assert error["message"] == "weighing it takes longer than the 6 s that the server allows"
        assert time.monotonic() - began < 20
        answer = asked.get("/api/weigh?model=lenet5")  # by the same pool, of one worker
        assert answer.json() == weighbridge.weigh("lenet5").to_dict()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process's data takes")
def test_one_that_takes_too_much_memory_is_ended_and_the_next_is_answered():
    with client(memory_bytes=150 * 2**20) as asked:
        error = said(asked.get("/api/weigh", params={"model": ENDLESS}), 422)
        assert error["message"] in (
            "the network takes more memory than the server allows",
            "the process that weighed it ended; it may take 150 MiB of memory",
        )
        assert asked.get("/api/weigh?model=lenet5").status_code == 200


def test_a_worker_that_dies_is_replaced():
    async def deaths():
        pool = Pool(Limits(workers=1))
        try:
            (worker,) = pool._workers
            first = await pool.ask({"kind": "weigh", "parameters": {"model": "lenet5"}})
            running = asyncio.create_task(
                pool.ask({"kind": "weigh", "parameters": {"model": ENDLESS}})
            )
            await asyncio.sleep(1)
            worker._process.kill()
            died = await running
            again = await pool.ask({"kind": "weigh", "parameters": {"model": "lenet5"}})
            return first, died, again
        finally:
            await pool.stop()

    first, died, again = asyncio.run(deaths())
    assert died.status == 422
    assert b"the process that weighed it ended" in died.content
    assert first == again


def test_a_worker_retires(monkeypatch):
    from weighbridge.server import pool as pools

    monkeypatch.setattr(pools, "RETIRES", 2)

    async def processes():
        pool = Pool(Limits(workers=1))
        seen = []
        try:
            for _ in range(3):
                answer = await pool.ask({"kind": "weigh", "parameters": {"model": "lenet5"}})
                assert answer.status == 200
                process = pool._workers[0]._process
                seen.append(process and process.pid)
        finally:
            await pool.stop()
        return seen

    one, none, other = asyncio.run(processes())
    assert none is None
    assert other != one


def test_no_more_may_wait_than_may():
    async def crowd():
        pool = Pool(Limits(workers=1, waiting=1))
        try:
            question = {"kind": "weigh", "parameters": {"model": "lenet5"}}
            return await asyncio.gather(*(pool.ask(question) for _ in range(4)))
        finally:
            await pool.stop()

    statuses = sorted(answer.status for answer in asyncio.run(crowd()))
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_a_bug_of_ours_is_one_message_too(monkeypatch):
    from weighbridge import api
    from weighbridge.server.answering import answer

    def fails(*arguments, **settings):
        raise KeyError("spam")

    monkeypatch.setattr(api, "weigh", fails)
    found = answer({"kind": "weigh", "parameters": {"model": "lenet5"}})
    assert found.status == 500
    assert json.loads(found.content)["error"]["message"] == "internal error: KeyError: 'spam'"


@pytest.mark.parametrize("name", ["workers", "seconds", "memory_bytes", "waiting"])
def test_limits_are_more_than_none(name):
    with pytest.raises(WeighError, match=f"{name} is 0; expected more than none"):
        Limits(**{name: 0})


# -- the worker opens nothing --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("open({secret!r})", "does not open"),
        ("open('x/../../secret')", "does not open"),
        ("__import__('os').open({secret!r}, 0)", "does not open"),
        ("__import__('os').symlink({secret!r}, 'link'); open('link')", "does not"),
        ("open({secret!r}, 'w')", "does not open"),
        ("__import__('os').remove({secret!r})", "does not change"),
        ("__import__('subprocess').run(['true'])", "does not do subprocess.Popen"),
        ("__import__('os').system('true')", "does not do os.system"),
        ("__import__('socket').create_connection(('127.0.0.1', 1))", "does not do socket"),
    ],
)
def test_a_worker_is_locked_in(tmp_path, code, message):
    secret, folder = tmp_path / "secret", tmp_path / "own"
    secret.write_text("secret")
    folder.mkdir()
    script = (
        "import os, weighbridge, weighbridge.api, subprocess, socket\n"
        "from weighbridge.server import worker\n"
        f"os.chdir({str(folder)!r}); worker._lock({str(folder)!r})\n"
        "open('mine', 'w').write('x'); assert open('mine').read() == 'x'\n"
        f"{code.format(secret=str(secret))}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "PermissionError: the server " in done.stderr
    assert message in done.stderr
    assert secret.read_text() == "secret"


# -- the command ---------------------------------------------------------------------------------


def test_it_says_where_it_is_and_answers():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = subprocess.Popen(
        [sys.executable, "-c", "from weighbridge.cli import main; main()", "serve", "--port", str(port)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert (
            running.stderr.readline()
            == f"weighbridge is at http://127.0.0.1:{port}/  (Ctrl-C ends it)\n"
        )
        import urllib.request

        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/weigh?model=lenet5", timeout=60
        ) as answer:
            assert json.load(answer) == weighbridge.weigh("lenet5").to_dict()
        taken = CliRunner().invoke(main, ["serve", "--port", str(port)])
        assert taken.exit_code == 1
        assert f"port {port} of 127.0.0.1 cannot be listened on" in taken.stderr
    finally:
        running.terminate()
        running.communicate(timeout=30)


def test_it_says_aloud_whom_it_serves(monkeypatch):
    served = []
    monkeypatch.setattr(
        server, "serve", lambda listening, host, limits: served.append((listening, limits))
    )
    quiet = CliRunner().invoke(
        main, ["serve", "--port", "0", "--memory", "1GiB", "--deadline", "5"]
    )
    assert "without a password" not in quiet.stderr
    assert served[0][1] == Limits(workers=2, seconds=5, memory_bytes=2**30)
    loud = CliRunner().invoke(main, ["serve", "--port", "0", "--host", "0.0.0.0"])
    assert (
        "not only this machine: whoever reaches 0.0.0.0 can weigh networks here, without a password"
        in loud.stderr
    )
    for listening, _ in served:
        listening.close()


def test_only_loopback_is_loopback():
    assert [
        server.is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.1.2.3")
    ] == [True] * 4
    assert [
        server.is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org")
    ] == [False] * 4


def test_an_address_that_is_nobodys_is_refused():
    with pytest.raises(UsageError, match=r"this machine has no address 'no\.such\.host\.invalid'"):
        server.bind("no.such.host.invalid", 0)


def test_without_its_packages_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="starlette and uvicorn are not installed") as error:
        server.check_installed()
    assert error.value.hints == ("try: pip install 'weighbridge[serve]'",)


def test_the_command_loads_no_web_in_vain():
    code = (
        "import sys\nfrom weighbridge.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({n.partition('.')[0] for n in sys.modules} & {'starlette', 'uvicorn', 'asyncio'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[]\n")


# -- the description -----------------------------------------------------------------------------


def test_the_description_holds_for_what_is_answered(asked):
    jsonschema = pytest.importorskip("jsonschema")
    described = asked.get("/openapi.json").json()
    assert set(described["paths"]) == {
        "/page", "/api/weigh", "/api/networks", "/api/devices", "/api/notation", "/api/upload",
    }  # fmt: skip
    parts = described["components"]

    def check(name, record):
        schema = {"components": parts, "$ref": f"#/components/schemas/{name}"}
        jsonschema.Draft202012Validator(schema).validate(record)

    check("Weighing", asked.get("/api/weigh?model=lenet5&train=adam&on=rtx-4090").json())
    check("Error", asked.get("/api/weigh?model=spam").json())
    check("Networks", asked.get("/api/networks").json())
    check("Devices", asked.get("/api/devices").json())
    check("Upload", asked.post("/api/upload", json=BERT).json())
    check("Reading", asked.post("/api/notation", json={"text": "(Input)(3,8,8)->(fc)10"}).json())
    check("Reading", asked.post("/api/notation", json={"text": "(Input)"}).json())


@pytest.mark.slow
def test_fifty_at_once_are_all_answered(asked):
    names = weighbridge.networks("zoo")["zoo"]
    chosen = [names[place % len(names)] for place in range(50)]
    with ThreadPoolExecutor(50) as threads:
        statuses = list(
            threads.map(lambda name: asked.get(f"/api/weigh?model={name}").status_code, chosen)
        )
    assert statuses == [200] * 50


LAYER = hypothesis.strategies.sampled_from(
    ["(Conv)6c3w1s1p", "(Conv)", "(ReLU)", "(fc)10", "(MaxPool)2w2s", "(Flatten)", "(Embedding)9,8", "(", "9*[", "add[", "|", "]"]
)  # fmt: skip
TEXT = hypothesis.strategies.text()
NOTATION = hypothesis.strategies.lists(LAYER | TEXT, max_size=12).map("->".join)


@pytest.mark.slow
@hypothesis.settings(max_examples=10_000, deadline=None, derandomize=True, database=None)
@hypothesis.given(text=TEXT | NOTATION | NOTATION.map("(Input)(3,8,8)->".__add__))
def test_no_text_in_the_box_is_a_crash(text):
    from weighbridge.server.answering import answer

    found = answer({"kind": "notation", "text": text})
    assert found.status in (200, 422), found.content
    assert set(json.loads(found.content)) >= {"error"}
