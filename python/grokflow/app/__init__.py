"""The command line: ``grokflow reproduce``, ``grokflow run`` and ``grokflow info``."""
