"""Experiments of the field, each a plain script: ``python -m grokflow.papers.lyu2023 [--small]``.

``grokflow reproduce --list`` tells what there is.
"""
