"""Compile the safety filter's arithmetic ahead of the first flight: python -m lgtc_core.flight."""

from __future__ import annotations

from lgtc_core.flight import guard_memory

if __name__ == "__main__":
    guard_memory.prepare()
