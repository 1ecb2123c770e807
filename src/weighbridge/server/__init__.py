"""The server: the page with a box to type a network in, on this machine's own address (docs/serve.md).

What a stranger may send is weighed in a process of its own (`worker`), of which a pool (`pool`) keeps a few, kills
those that take too long and replaces those that die. Here is only HTTP: `app` takes requests and answers them,
`asking` says what may be asked, `describing` describes it as OpenAPI. The home of Starlette and uvicorn.

No path from a request is opened. A network goes by a name, by notation, or by what was uploaded; a worker could not
open a file elsewhere if it wanted to.
"""

from __future__ import annotations

from errno import EADDRNOTAVAIL
from importlib.util import find_spec
from ipaddress import ip_address
from os import strerror
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    TCP_NODELAY,
    create_server,
    gaierror,
    getaddrinfo,
    has_ipv6,
    socket,
)

from ..errors import UsageError, WeighError
from .pool import Limits as Limits


def check_installed() -> None:
    """Refuses where the packages are missing.

    Raises:
        UsageError: Starlette or uvicorn is not installed.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed",
            "try: pip install 'weighbridge[serve]'",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket:
    """A socket that listens there; port 0 takes a free one.

    Raises:
        UsageError: the address is not this machine's.
        WeighError: the port is taken.
    """
    try:
        getaddrinfo(host, port)
        family = AF_INET6 if ":" in host and has_ipv6 else AF_INET
        listening = create_server((host, port), family=family)
    except OSError as error:
        if isinstance(error, gaierror) or error.errno == EADDRNOTAVAIL:
            raise UsageError(
                f"this machine has no address {host!r}", "leave --host out: 127.0.0.1"
            ) from error
        raise WeighError(
            f"port {port} of {host} cannot be listened on: {strerror(error.errno or 0)}",
            "another --port, or 0 for one that is free",
        ) from error
    # Else an answer's body waits 40 ms for the receipt of its head; asyncio sets it only where the protocol is named.
    listening.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    return listening


def serve(listening: socket, host: str, limits: Limits) -> None:
    """Serves until it is interrupted."""
    import uvicorn

    from .app import application

    config = uvicorn.Config(
        application(host=host, limits=limits),
        log_level="warning",
        access_log=False,
        server_header=False,
        http="h11",
        ws="none",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=3,
    )
    uvicorn.Server(config).run(sockets=[listening])
