"""Tensors of a run under flat names."""

from typing import Any

import pytest
import torch

from metarl.core.errors import RequestError
from metarl.core.params import Meta, tree_map
from metarl.run.store.tensors import flatten, restore
from tiny_runs import agent, same


def tree() -> dict[str, Any]:
    built = agent(meta_optimizer="adam")
    meta = built.initial_meta()
    return {"meta": meta, "optimiser": built.optimizer.init(meta)}


def test_each_tensor_stands_under_its_path() -> None:
    found = flatten({"meta": Meta({"net.0.bias": torch.ones(2)}, {}), "optimiser": {"x": (torch.zeros(1),)}})
    assert sorted(found) == ["meta.model.net.0.bias", "optimiser.x.0"]
    assert torch.equal(found["meta.model.net.0.bias"], torch.ones(2))
    names = flatten(tree())
    assert {"meta.model.log_std", "optimiser.mean.model.net.2.weight", "optimiser.count"} <= set(names)
    assert len(names) == 3 * 5 + 1  # 5 tensors of the network, three times, and the count


def test_a_tree_comes_back_bit_for_bit_whatever_the_order() -> None:
    generator = torch.Generator().manual_seed(1)
    values = tree_map(lambda x: torch.randn(x.shape, generator=generator, dtype=x.dtype), tree())
    tensors = flatten(values)
    back = restore(dict(sorted(tensors.items(), reverse=True)), tree(), "here")
    assert same(back["meta"], values["meta"])
    assert isinstance(back["meta"], Meta)
    assert back["optimiser"]["count"].dtype == torch.float64  # as the tree has it


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "meta.model.log_std",
            torch.zeros(3),
            "checkpoint 7 has [3] for meta.model.log_std, this ",
        ),
        ("meta.model.log_std", None, "has nothing for meta.model.log_std, this configuration has [2]"),
        ("meta.rule.lr", torch.zeros(1), "has [1] for meta.rule.lr, this configuration has nothing"),
        ("meta.model.log_std", torch.zeros(2, dtype=torch.int8), "has torch.int8 for meta.model.log_std"),
        ("meta.model.log_std", torch.tensor([0, torch.inf]), "has values that are not finite in meta."),
    ],
)
def test_tensors_of_another_network_are_refused(name: str, value: torch.Tensor | None, told: str) -> None:
    tensors = flatten(tree()) | ({} if value is None else {name: value})
    if value is None:
        del tensors[name]
    with pytest.raises(RequestError) as caught:
        restore(tensors, tree(), "checkpoint 7")
    assert told in str(caught.value)
