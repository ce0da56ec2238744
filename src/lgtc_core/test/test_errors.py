"""Errors say their sentence, and say it in another process too."""

from __future__ import annotations

import pickle

import pytest

from lgtc_core.errors import ConfigError, ContractError, InputError, LedgerError, LgtcError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ConfigError("fleet.yaml", "kinds", "none", "at least one"),
            "fleet.yaml: kinds: got none; expected at least one",
        ),
        (ConfigError("fleet.yaml", "", "nothing", "a mapping"), "fleet.yaml: got nothing; expected a mapping"),
        (ContractError("models/a: kinds", "2", "3"), "models/a: kinds: got 2; expected 3"),
        (InputError("/cf1/pose", "nan", "finite numbers"), "/cf1/pose: got nan; expected finite numbers"),
        (LedgerError("a.sqlite", "it is in use", "end the flight"), "ledger a.sqlite: it is in use; end the flight"),
    ],
)
def test_an_error_says_where_got_and_expected_and_survives_the_way_to_another_process(
    error: LgtcError, sentence: str
) -> None:
    assert str(error) == sentence
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert str(there) == sentence
    assert vars(there) == vars(error)
