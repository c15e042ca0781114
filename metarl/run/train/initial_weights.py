"""The weights that a run starts from: those that the seed draws, or those of a file."""

from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from metarl.core.critic import PREFIX
from metarl.core.errors import RequestError
from metarl.core.params import Meta, Params, to_device
from metarl.run.agent.agent import Agent
from metarl.run.sb3.archive import architecture, is_archive, read_archive
from metarl.run.sb3.names import check_expressible, names_of
from metarl.run.store import zoo
from metarl.run.store.files import is_file
from metarl.run.store.tensors import check_finite, check_shapes
from metarl.run.store.terminal import warn


def with_initial_weights(agent: Agent, drawn: Meta) -> Meta:
    """Return the meta-parameters before training: those that the seed has drawn, with the weights of the file
    ``init_from``, ours or Stable-Baselines3's, if it is set.

    Raises:
        RequestError: no such file, or another network's; both sides are named.
    """
    config, family, like = agent.config, agent.family, drawn.model
    if config.init_from is None:
        return drawn
    path = Path(config.init_from)
    if not is_file(path):
        if str(path).startswith(zoo.PREFIX) or is_file(path / "config.yaml"):
            save = f"metarl.load({str(path)!r}).policy.save('start.safetensors')"
            raise RequestError(
                f"init-from must be a file of weights, got {path}; of a run, in Python: {save}"
            )
        raise RequestError(f"init-from file {path} does not exist")
    if not is_archive(path):
        return drawn._replace(model=to_device(_fitting(_read(path), like, path), agent.device))
    state, of_file = read_archive(path)
    check_expressible(config, family)
    matrices = [p for p in agent.module.parameters() if p.ndim > 1]
    of_agent = architecture(matrices, config.activation, family.action_space)
    if str(of_file) != str(of_agent):
        raise RequestError(f"init-from file {path} has {of_file}, the network has {of_agent}")
    if of_file.bounds != of_agent.bounds:
        bounds = f"{of_file.bounds}, the family in {of_agent.bounds}"
        warn(f"init-from file {path} acts in {bounds}; it is cut there")
    names = names_of(config, family, agent.module, valued=agent.critic is not None)
    return drawn._replace(model=to_device(_fitting(names.from_sb3(state), like, path), agent.device))


def _read(path: Path) -> Params:
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, TypeError, RuntimeError) as error:
        raise RequestError(f"init-from file {path} is not a safetensors file: {error}") from error


def _fitting(weights: Params, like: Params, path: Path) -> Params:
    """Return weights of a file in the order of ``like``, once they fit. A value network's are taken if both
    have them; the user reads which of the two lacks one, and the network's own stays as it is drawn.
    """
    has, wants = (any(name.startswith(PREFIX) for name in tree) for tree in (weights, like))
    if has and not wants:
        warn(f"init-from file {path} has a value network, which is left out")
        weights = {name: x for name, x in weights.items() if not name.startswith(PREFIX)}
    if wants and not has:
        warn(f"init-from file {path} has no value network; it starts anew")
        weights |= {name: x for name, x in like.items() if name.startswith(PREFIX)}
    check_shapes(weights, like, f"init-from file {path}", "the network")
    check_finite(weights, f"init-from file {path}")
    return {name: weights[name].to(like[name].dtype) for name in like}
