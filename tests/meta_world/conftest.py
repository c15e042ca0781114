"""Collected where Meta-World is installed: in the environment that ``make test-metaworld`` builds."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("metaworld") else ["test_*.py"]
