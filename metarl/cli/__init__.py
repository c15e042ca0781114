"""The command line: ``options`` has what can be asked for, ``parser`` reads words, ``commands`` does it."""

from metarl.cli.commands import main

__all__ = ["main"]
