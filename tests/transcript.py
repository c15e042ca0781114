"""A page of commands with what they printed, played anew.

    .venv/bin/python tests/transcript.py docs/first-day.md      writes what they print now into the page

In a block marked ``console`` a line that begins with ``$ `` is a command for bash, whose further lines begin
with ``> ``; what follows is its standard output. An example that a block of Python quotes lies in the working
directory.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
QUOTE = re.compile(r"^# from (docs/examples/\w+\.py)$", re.MULTILINE)
CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ .*\n(?:> .*\n)*", re.MULTILINE)

# What a machine, a clock or the last digits of a training decide, and what stands for it.
DECIDED = (
    (r"\d{8}_\d{6}-[0-9a-f]{16}|\b[0-9a-f]{16}\b", "ID"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
    (r"(environment steps of a task)[ \d]+", r"\1 #"),
    (r"[-−]?\d[\d,\u202f]*\.\d+(?:e[-+]?\d+)?", "#"),
    (r"(?<=\] ) *[\d# ]+$", "#"),  # the step sizes at the end of a row of results
    (r"[ \t]+", " "),
)


def steps(page: str) -> list[tuple[str, str]]:
    """Every command of a page, as bash takes it, with what it is said to print."""
    found = []
    for block in CONSOLE.findall(page):
        starts = [match.span() for match in COMMAND.finditer(block)]
        assert starts and starts[0][0] == 0, f"a block that begins with no command: {block!r}"
        ends = [start for start, _ in starts[1:]] + [len(block)]
        for (start, end), until in zip(starts, ends, strict=True):
            lines = [line[2:] for line in block[start:end].splitlines()]
            found.append(("\n".join(lines), block[end:until]))
    return found


def play(page: str, folder: Path) -> list[str]:
    """What the page's commands print, each after the other, in a folder with the files that it quotes.

    Raises:
        RuntimeError: a command failed; with what it said.
    """
    for name in QUOTE.findall(page):
        (folder / Path(name).name).write_text((ROOT / name).read_text())
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    printed = []
    for command, _ in steps(page):
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise RuntimeError(f"$ {command}\n{ran.stdout}{ran.stderr}")
        printed.append(ran.stdout.replace(str(folder.resolve()), "~"))
    return printed


def shape(printed: str) -> list[str]:
    """The lines of an output without what a machine decides."""
    for pattern, stand_in in DECIDED:
        printed = re.sub(pattern, stand_in, printed, flags=re.MULTILINE)
    return [line.rstrip() for line in printed.splitlines()]


def rewritten(page: str, printed: list[str]) -> str:
    """The page with other outputs behind its commands."""
    outputs = iter(printed)

    def block(match: re.Match[str]) -> str:
        return "".join(head + next(outputs) for head in COMMAND.findall(match[0]))

    return CONSOLE.sub(block, page)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        path.write_text(rewritten(path.read_text(), play(path.read_text(), Path(folder))))
    print(path)
