"""The page: a report as one file that opens anywhere, without a network, and recomputes itself when a knob is moved.

Everything is in it: the style, the program (`js`), and the record that the program reads (`record`). A policy in its
head allows this script and this style, by their hashes, and nothing else: no request can leave it.
This is the home of Jinja2.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import resources

from ...analyses.memory.resident import HELD, KERNELS
from ...analyses.weighing import Json, Weighing
from ...units import percent
from .. import screen
from ..layers import short_unit
from ..sheet import Sheet, text
from .published import Published

MODULES = (
    "units", "elements", "saving", "record", "clock", "timing", "step", "allocator", "resident", "reading", "modules",
    "exports", "figures", "tree", "curve", "icicle", "roofline", "layered", "graph", "knobs", "main",
)  # fmt: skip
"""The modules of the page's program, each after those that it imports."""


BAND = (
    f"memory on a GPU: tensors {percent(KERNELS[0])} fewer to {percent(KERNELS[1])} more than predicted, "
    f"which holds {HELD}"
)
"""How sure the predictions are, always in sight. Counts are exact."""


def render(
    weighing: Weighing,
    record: Mapping[str, Json],
    *,
    verdicts: Sequence[str],
    sheet: Sheet,
    papers: Sequence[Published] = (),
) -> str:
    """The page; `verdicts` and `sheet` are what it says before its program runs, and where none may.

    `papers` are the published tables of the network's family.
    """
    return document(
        "page.html.j2",
        MODULES,
        record,
        network=weighing.program.network,
        origin=screen.title(weighing).partition("  ")[2],
        verdict=verdicts[0] if verdicts else "",
        below=verdicts[1:],
        facts=screen.named_facts(weighing),
        remarks=screen.remarks(weighing)[1:],
        headings=(sheet.subject, *(column.heading for column in sheet.columns)),
        rows=[("\u2003" * row.indent + row.name, *map(text, row.cells)) for row in sheet.rows],
        unit=short_unit(weighing),
        coverage=screen.coverage(weighing),
        band=BAND,
        papers=papers,
    )


def document(
    template: str, modules: Sequence[str], record: Mapping[str, Json], **said: object
) -> str:
    """A page of a template, which says what it is given, with the record and the modules that read it."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    style, script = _asset("page.css"), program(modules)
    return environment.get_template(template).render(
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        record=Markup(_inert(record)),
        **said,
    )


def program(modules: Sequence[str]) -> str:
    """The modules as one: a file cannot import from another when it is opened from a disk."""
    *others, last = (_scoped(_asset(f"js/{name}.js")) for name in modules)
    parts = [
        f"const ${name} = (() => {{\n{code}\nreturn {{ {', '.join(names)} }};\n}})();"
        for name, (code, names) in zip(modules, others, strict=False)
    ]
    return "\n".join((*parts, f"{{\n{last[0]}\n}}"))


def _scoped(module: str) -> tuple[str, list[str]]:
    """A module for a scope of its own, its imports taken from those of others, and the names that it exports."""
    names = re.findall(
        r"^export (?:async )?(?:function\*?|class|const) (\w+)", module, re.MULTILINE
    )
    module = re.sub(
        r"^import (\{.*?\}) from \"\./(\w+)\.js\";$", r"const \1 = $\2;", module, flags=re.M
    )
    return re.sub(r"^export ", "", module, flags=re.MULTILINE), names


def _inert(record: Mapping[str, Json]) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
