"""Contract tests for parts of one's own, one line each: ``check_rule(rule)``."""

from metarl.testing.rules import check_rule

__all__ = ["check_rule"]
