"""HTTP: requests in, answers out, each with the headers that keep a browser from doing more than it is asked."""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from html import unescape
from importlib import resources
from ipaddress import ip_address
from json import loads
from typing import final

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..analyses.weighing import Json
from ..errors import UsageError, WeighError
from . import asking
from .answering import HTML, JSON, OK, Answer, complaint, written
from .describing import openapi
from .pool import Limits, Pool

SECONDS_TO_SEND = 10.0
"""Within which the body of a request has to arrive."""

UPLOADS = 32
"""Uploads that are kept; the oldest goes first."""

CLOSED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
BOX = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FRAMED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
"""For the page in its frame, where it says nothing stricter itself."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
BOX_FILES = {
    "/": ("box.html", HTML),
    "/box.css": ("box.css", "text/css"),
    "/box.js": ("box.js", "text/javascript"),
}
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')


@final
class Service:
    """What the routes share: the workers, and what was uploaded, in memory."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._uploads: OrderedDict[str, str] = OrderedDict()
        self._lists: dict[str, Answer] = {}
        self._pool: Pool | None = None

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Has workers while the server runs."""
        self._pool = Pool(self._limits)
        try:
            yield
        finally:
            await self._pool.stop()

    async def _ask(self, question: dict[str, Json]) -> Answer:
        assert self._pool is not None
        return await self._pool.ask(question)

    async def weigh(self, request: Request) -> Response:
        """GET /api/weigh"""
        return _response(await self._ask(self._question("weigh", request)))

    async def page(self, request: Request) -> Response:
        """GET /page: the report, under the policy that stands in its own head."""
        try:
            question = self._question("page", request)
        except UsageError as error:
            return _response(complaint(error, page=True), policy=FRAMED)
        found = await self._ask(question)
        own = _POLICY.search(found.content[:4096].decode("utf-8", "replace"))
        policy = f"{unescape(own[1])}; frame-ancestors 'self'" if own else FRAMED
        return _response(found, policy=policy)

    async def notation(self, request: Request) -> Response:
        """POST /api/notation: whether it can be read, or where it cannot."""
        record = _parsed(await _body(request, 8 * asking.LONGEST))
        asked = record if isinstance(record, dict) else {}
        text = asked.get("text")
        if not isinstance(text, str) or len(text) > asking.LONGEST:
            raise UsageError(
                f"expected {{'text': '...'}}, a text of at most {asking.LONGEST:,} characters"
            )
        inputs = asking.sizes(asked.get("input", []))
        return _response(await self._ask({"kind": "notation", "text": text, "input": inputs}))

    async def upload(self, request: Request) -> Response:
        """POST /api/upload: keeps a configuration in memory, under a name made of what it holds."""
        content = await _body(request, asking.LARGEST_UPLOAD)
        asking.read_upload(content)
        name = sha256(content).hexdigest()[:16]
        self._uploads[name] = content.decode()
        self._uploads.move_to_end(name)
        while len(self._uploads) > UPLOADS:
            self._uploads.popitem(last=False)
        return _response(Answer(OK, JSON, written({"model": f"{asking.UPLOADED}:{name}"})))

    async def networks(self, _: Request) -> Response:
        """GET /api/networks"""
        return await self._list("networks")

    async def devices(self, _: Request) -> Response:
        """GET /api/devices"""
        return await self._list("devices")

    async def _list(self, kind: str) -> Response:
        if kind not in self._lists:
            found = await self._ask({"kind": kind})
            if found.status != OK:
                return _response(found)
            self._lists[kind] = found
        return _response(self._lists[kind])

    def _question(self, kind: str, request: Request) -> dict[str, Json]:
        """What a worker is asked.

        Raises:
            UsageError: the parameters make no sense, or the upload is not there.
        """
        parameters = asking.read(request.query_params.multi_items())
        question: dict[str, Json] = {"kind": kind, "parameters": parameters}
        prefix, _, name = str(parameters["model"]).partition(":")
        if prefix == asking.UPLOADED:
            if name not in self._uploads:
                raise UsageError(f"nothing was uploaded as {name!r}", "upload the file again")
            question["upload"] = self._uploads[name]
        return question


def application(*, host: str, limits: Limits) -> Starlette:
    """The server for an address: the box, the page, the API."""
    service = Service(limits)
    return Starlette(
        routes=[
            *(Route(path, _file(path), methods=["GET"]) for path in BOX_FILES),
            Route("/openapi.json", _described, methods=["GET"]),
            Route("/page", service.page, methods=["GET"]),
            Route("/api/weigh", service.weigh, methods=["GET"]),
            Route("/api/networks", service.networks, methods=["GET"]),
            Route("/api/devices", service.devices, methods=["GET"]),
            Route("/api/notation", service.notation, methods=["POST"]),
            Route("/api/upload", service.upload, methods=["POST"]),
        ],
        middleware=[Middleware(Guarded, host=host)],
        exception_handlers={WeighError: _told, HTTPException: _refused, Exception: _broken},
        lifespan=service.running,
    )


@final
class Guarded:
    """Lets in what is meant for this server and comes from its own page; puts the headers on every answer.

    A page elsewhere that had its name pointed at this address (DNS rebinding) sends its name as Host. One that asks
    across sites is told apart by the headers that a browser sets and no script can.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._host = host.lower()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", CLOSED)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refusal(scope, Headers(scope=scope))
        await (refused or self._app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._is_own(host):
            return _response(
                complaint(UsageError(f"this server is not {host[:100]!r}"), status=421)
            )
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
        foreign = origin is not None and origin != f"{scope['scheme']}://{host}"
        if foreign or (site not in ("none", "same-origin") and scope["path"] != "/"):
            said = UsageError("another site asks; only the server's own page may")
            return _response(complaint(said, status=403))
        return None

    def _is_own(self, host: str) -> bool:
        """An address, since no name can be pointed at it; localhost; or the name that it was told to serve."""
        found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::[0-9]{1,5})?", host.lower())
        if found is None:
            return False
        name = found[1] or found[2]
        if name in ("localhost", self._host):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True


def _response(found: Answer, *, policy: str = CLOSED) -> Response:
    return Response(
        found.content,
        status_code=found.status,
        headers={"content-type": found.kind, "content-security-policy": policy},
    )


async def _body(request: Request, most: int) -> bytes:
    """The body, as far as it is JSON, not too long, and there in time.

    Raises:
        HTTPException: it is not.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"the body is {kind[:60]!r}; expected application/json")
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise HTTPException(413, f"the body is longer than {most:,} bytes")
                parts.append(part)
    except TimeoutError:
        raise HTTPException(408, f"the body took longer than {SECONDS_TO_SEND:g} s") from None
    return b"".join(parts)


def _parsed(content: bytes) -> object:
    try:
        return loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError(
            "the body is not JSON", 'as in {"text": "(Input)(3,32,32)->(fc)10"}'
        ) from None


def _file(path: str) -> Callable[[Request], Response]:
    name, kind = BOX_FILES[path]
    content = resources.files(__package__).joinpath("box", name).read_bytes()

    def answer(_: Request) -> Response:
        return _response(Answer(OK, kind, content), policy=BOX)

    return answer


def _described(_: Request) -> Response:
    return _response(Answer(OK, JSON, written(openapi())))


def _told(_: Request, error: Exception) -> Response:
    return _response(complaint(error))


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    found = _response(complaint(UsageError(error.detail), status=error.status_code))
    found.headers.update(error.headers or {})
    return found


def _broken(_: Request, error: Exception) -> Response:
    return _response(complaint(error, status=500))
