"""What holds for every test: shapes are checked, one thread a process, nothing written outside tmp_path."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when NumPy's and torch's libraries load

# Before anything of metarl is imported: from here on jaxtyping and beartype check every annotated call.
install_import_hook(["metarl", "metarl_envs"], "beartype.beartype")

import torch  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

torch.set_num_threads(1)

# Every run draws the same examples, and no clock has a say.
settings.register_profile(
    "metarl",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("metarl")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["MPLBACKEND"] = "Agg"
    # matplotlib's list of fonts and the drawn glyphs are kept between runs, but not in the home directory
    if cache := getattr(config, "cache", None):
        os.environ["MPLCONFIGDIR"] = str(cache.mkdir("matplotlib"))
        os.environ["XDG_CACHE_HOME"] = str(cache.mkdir("user"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def _writes_stay_in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths land in tmp_path, and so does wandb, which never reaches for the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
