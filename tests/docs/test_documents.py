"""The documents are a contract: every command and session printed in them is run, and prints the same.

A fenced block of the language `console` holds commands (`$ weigh ...`) and what they print, one of `pycon` holds
a Python session. The word `torch` behind the language says that the block needs torch. `make golden` rewrites
the commands' output; a person reads the diff.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^```(console|pycon)( torch)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: where it stands, its language, whether it needs torch, its text."""

    document: Path
    line: int
    language: str
    torch: bool
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        content = document.read_text(encoding="utf-8")
        for match in FENCE.finditer(content):
            yield Block(
                document=document,
                line=content.count("\n", 0, match.start()) + 1,
                language=match[1],
                torch=bool(match[2]),
                text=match[3],
            )


def commands(block: Block) -> list[tuple[str, str]]:
    """The commands of a block, each with what is printed below it."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def printed(command: str) -> str:
    """What the command prints on both streams, without a terminal, at a page's width."""
    from weighbridge.cli import main

    program, *arguments = shlex.split(command)
    assert program == "weigh", f"only weigh is run, not {program}"
    environment = {"COLUMNS": "100", "NO_COLOR": "1"}
    with contextlib.chdir(ROOT / "docs"):  # where `mynet.py` is, wherever the checkout lies
        result = CliRunner().invoke(main, arguments, env=environment, prog_name="weigh")
    return "\n".join(line.rstrip() for line in result.output.splitlines()).strip() + "\n"


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "console"], ids=str)
def test_commands_print_what_the_documents_say(block: Block, update_golden: bool) -> None:
    if block.torch and importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    for command, expected in commands(block):
        actual = printed(command)
        if update_golden:
            content = block.document.read_text(encoding="utf-8")
            old, new = (f"$ {command}\n{text.strip()}" for text in (expected, actual))
            block.document.write_text(
                content.replace(old.rstrip(), new.rstrip(), 1), encoding="utf-8"
            )
            continue
        shown = "\n".join(line.rstrip() for line in expected.strip().splitlines())
        if shown.endswith("\n..."):  # the document shows the beginning
            shown = shown.removesuffix("...").rstrip()
            actual = actual[: len(shown)]
        assert actual.strip() == shown, f"{block}: {command}"


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "pycon"], ids=str)
def test_sessions_print_what_the_documents_say(block: Block) -> None:
    if block.torch and importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch")
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    example = doctest.DocTestParser().get_doctest(
        block.text, {}, str(block), str(block), block.line
    )
    complaints: list[str] = []
    runner.run(example, out=complaints.append)
    assert not complaints, "".join(complaints)


def test_the_documents_have_examples() -> None:
    found = list(blocks())
    assert len([block for block in found if block.language == "console"]) >= 10
    assert any(block.language == "pycon" for block in found)


def test_links_between_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(
            r"\]\(([^)#:]+?)(?:#[^)]*)?\)", document.read_text(encoding="utf-8")
        ):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
