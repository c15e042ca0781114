"""The Meta-World families where Meta-World is not installed: one line that names the extra."""

import sys

import pytest

from metarl.core.errors import RequestError
from metarl.rollout.registry import make
from metarl_envs.manipulation.family import MetaWorldML1, MetaWorldML10, MetaWorldML45


@pytest.mark.parametrize("cls", [MetaWorldML1, MetaWorldML10, MetaWorldML45])
def test_the_extra_is_named(cls: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "metaworld", None)  # importing it fails
    monkeypatch.delitem(sys.modules, "metarl_envs.manipulation.envs", raising=False)
    needs = r"Meta-World 3\.1, in an environment of its own: pip install '.*\[metaworld\]' \(.*\)"
    told = f"{cls.name} needs {needs}$"
    with pytest.raises(ValueError, match=f"^{told}"):
        cls()
    with pytest.raises(RequestError, match=told):
        make(f"metarl_envs.manipulation.family:{cls.__name__}")
    assert list(cls.specs) == ["v3"]
