"""Compile what flights compile, ahead of the first one: python -m lgtc_core."""

from __future__ import annotations

from lgtc_core.flight import flying, guard_memory
from lgtc_core.mind import tape

if __name__ == "__main__":
    guard_memory.prepare()
    flying.prepare()
    tape.prepare()
