"""What is asked of a run directory before anything of it is used; see also tests/faults/test_hostile.py."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from metarl.core.errors import RequestError
from metarl.run.config.admission import admit, check_run, code_in, command, load_config
from metarl.run.config.train_config import from_yaml, to_yaml
from tiny_runs import tiny

OWN = {"algorithm": "maml", "family": "mine:Family", "model": "mine.nets:Policy"}
PLAIN = {"family": "point-goal", "model": "mlp", "init_from": "a:b", "wandb_group": "a:b"}


def test_names_with_a_colon_are_code_where_they_are_imported() -> None:
    assert code_in(OWN) == {"mine:Family": "family", "mine.nets:Policy": "model"}
    several = {"logger": ["wandb", "a:b", "c:d"], "executor": "e:f", "rule": "sgd", "objective": "g:h"}
    assert code_in(several) == {"a:b": "logger", "c:d": "logger", "e:f": "executor", "g:h": "objective"}
    assert code_in(PLAIN) == code_in({}) == code_in({"family": None}) == {}
    assert code_in({"family": ["a:b"]})  # whatever it is, it is refused before it is looked at
    told = [command("resume", "a", opens=values) for values in (OWN, PLAIN, None)]
    assert told == ["metarl resume a --trust", "metarl resume a", "metarl resume a"]


def test_a_shell_reads_of_a_command_the_words_it_is_made_of() -> None:
    words = ["evaluate", Path("it's  a $HOME;run"), "--task", '{"goal": [1]}']
    told = subprocess.run(
        ["sh", "-c", "metarl() { printf '<%s>' \"$@\"; }; " + command(*words)], capture_output=True, text=True
    )
    assert told.stdout == '<evaluate><it\'s  a $HOME;run><--task><{"goal": [1]}>'


@pytest.mark.parametrize("trust", [False, (), {"mine:Family"}, {"mine:Family", "mine.nets"}])
def test_every_name_must_be_trusted(trust: Any) -> None:
    with pytest.raises(RequestError, match=r"^a/config.yaml names code, (family|model) 'mine.*give --trust"):
        admit(OWN, Path("a/config.yaml"), trust)
    admit(PLAIN, Path("a/config.yaml"), trust)


@pytest.mark.parametrize("trust", [True, ["mine:Family", "mine.nets:Policy", "another:Thing"]])
def test_what_is_trusted_passes(trust: Any) -> None:
    admit(OWN, Path("a/config.yaml"), trust)


def test_trust_is_neither_written_nor_read() -> None:
    config = tiny(trust=True)
    Path("config.yaml").write_text(to_yaml(config) + "trust: true\n")
    assert "trust" not in to_yaml(config) and "trust" not in from_yaml("config.yaml")
    assert [load_config("config.yaml", trust).trust for trust in (False, {"a:b"}, True)] == [
        False,
        False,
        True,
    ]


def test_a_run_directory_has_a_configuration_and_no_links(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for path in (run, tmp_path / "absent", tmp_path):
        with pytest.raises(RequestError, match=f"^{path} is not a run directory: no config.yaml$"):
            check_run(path)
    (run / "wandb").mkdir(parents=True)
    (run / "config.yaml").write_text("")
    (run / "wandb" / "latest").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(run)
    assert [check_run(path) for path in (run, tmp_path / "link")] == [run, tmp_path / "link"]
    (run / "deep" / "er").mkdir(parents=True)
    (run / "deep" / "er" / "link").symlink_to(run / "config.yaml")
    with pytest.raises(RequestError, match=f"^{run}/deep/er/link is a symbolic link"):
        check_run(run)
