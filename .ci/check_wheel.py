"""Checks that the wheel in a folder holds all files of our packages: ``python .ci/check_wheel.py DIST``."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def tracked(folder: Path, package: str) -> dict[str, bytes]:
    """The files of a package that git knows, by their names in the wheel."""
    words = ["git", "ls-files", package]
    listed = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    return {name: (folder / name).read_bytes() for name in listed.stdout.splitlines()}


if __name__ == "__main__":
    (wheel,) = Path(sys.argv[1]).glob("metarl_toolkit-*.whl")
    wanted = tracked(ROOT, "metarl") | tracked(ROOT / "envs", "metarl_envs")
    with zipfile.ZipFile(wheel) as archive:
        missing = sorted(wanted.keys() - set(archive.namelist()))
        assert not missing, missing
        differing = [name for name, data in wanted.items() if archive.read(name) != data]
        assert not differing, differing
    zoo = [name for name in wanted if name.startswith("metarl/zoo/") and name.endswith(".safetensors")]
    assert zoo, "no zoo"
    print(f"{wheel}: {len(wanted)} files, {len(zoo)} agents of the zoo")
