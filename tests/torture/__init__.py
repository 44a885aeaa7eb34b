"""Suites that try to break the project: each has a function `attempt(seed, folder)` that returns what happened.

What must not happen fails an assertion, or is an exception that nothing catches. `python -m tests.torture` counts the
outcomes.
"""
