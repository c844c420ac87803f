"""``python -m grokflow`` is the command ``grokflow``."""

from grokflow.cli import main

main()
