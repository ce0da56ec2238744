"""The fleet: who flies, where, and for what; files validated and resolved."""
