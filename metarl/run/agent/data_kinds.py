"""The two kinds of data that families give, episodes and labelled examples, and what differs between them."""

from typing import NamedTuple

from metarl.rollout.family import Family, is_supervised


class DataKind(NamedTuple):
    """The few differences, decided once for an agent.

    Attributes:
        of: the word by which parts state what they are for (``ObjectiveFacts.of``).
        words: the same in messages.
        counted: the key of metrics.jsonl under which consumed data are counted.
        tasks, steps: the held-out tasks and inner steps of the standard protocol.
    """

    of: str
    words: str
    counted: str
    tasks: int
    steps: int


EPISODES = DataKind("episodes", "episodes", "env_steps", tasks=40, steps=3)
EXAMPLES = DataKind("examples", "labelled examples", "examples", tasks=600, steps=10)


def kind_of(family: Family | type) -> DataKind:
    """Return the kind of data that a family, or a class of families, gives."""
    return EXAMPLES if is_supervised(family) else EPISODES
