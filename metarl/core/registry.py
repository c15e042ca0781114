"""Parts found by name: families, rules, objectives and learners."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from metarl.core.errors import RequestError

T = TypeVar("T")


class Registry(Generic[T]):
    """A name → part table whose error for an unknown name lists the known ones.

    ``kind`` is the word used in messages ("family"). ``load`` runs once, before the first look-up, and may
    register parts that are found elsewhere (entry points).
    """

    def __init__(self, kind: str, load: Callable[[], None] = lambda: None) -> None:
        self._kind = kind
        self._parts: dict[str, T] = {}
        self._load: Callable[[], None] | None = load

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: ``@rules.register("sgd")``. A second part under one name is refused."""

        def put(part: T) -> T:
            if name in self._parts and self._parts[name] is not part:
                raise RequestError(f"{self._kind} {name!r} is already registered")
            self._parts[name] = part
            return part

        return put

    def names(self) -> list[str]:
        """All known names, sorted."""
        if self._load is not None:
            load, self._load = self._load, None
            load()
        return sorted(self._parts)

    def __getitem__(self, name: str) -> T:
        if name not in self.names():
            raise RequestError(f"unknown {self._kind} {name!r}; allowed: {', '.join(self.names())}")
        return self._parts[name]

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())
