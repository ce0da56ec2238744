"""Resource states and edits into the book."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.fleet.team import Edit, Team
from lgtc_core.loop import server

THERE = ConsumerSpec(name="there", position_m=(1.5, 1.5), radius_m=0.55, demanded=(0.5, 0.0), depletion=(1, 0))


def test_resources_of_a_serving_drone_count_where_it_is(team: Team, words: Any) -> None:
    book = DemandBook.for_team(team)
    assert server.edit(book, Edit.ADD, THERE).accepted
    position_m = np.array([1.5, 1.5, 1.0])
    assert server.report(book, "cf1", words.resources(0.0)._replace(position_m=position_m)).accepted
    there = book.view(0.0).consumer("there")
    assert there is not None
    assert there.servers == ("cf1",)


def test_resources_of_another_fleet_are_refused_by_name(team: Team, words: Any) -> None:
    answer = server.report(DemandBook.for_team(team), "cf1", words.resources(0.0)._replace(kinds=("gold", "silver")))
    assert not answer.accepted
    assert "gold, silver" in answer.message
    assert "battery, parcel" in answer.message


def test_edits_add_change_and_remove(team: Team) -> None:
    book = DemandBook.for_team(team)
    assert server.edit(book, Edit.ADD, THERE).accepted
    assert server.edit(book, Edit.CHANGE, ConsumerSpec(**{**vars(THERE), "radius_m": 0.4})).accepted
    changed = book.view(0.0).consumer("there")
    assert changed is not None
    assert changed.radius_m == 0.4
    assert server.edit(book, Edit.REMOVE, THERE).accepted
    assert book.view(0.0).consumer("there") is None


@pytest.mark.parametrize("operation", [-1, 3, 200])
def test_an_unknown_operation_is_refused_and_changes_nothing(team: Team, operation: int) -> None:
    book = DemandBook.for_team(team)
    before = book.view(0.0)
    answer = server.edit(book, operation, THERE)
    assert not answer.accepted
    assert str(operation) in answer.message
    assert book.view(0.0) is before


def test_a_consumer_that_cannot_be_is_refused_in_words(team: Team) -> None:
    book = DemandBook.for_team(team)
    for wrong in ({"radius_m": math.nan}, {"demanded": (1.0,)}, {"position_m": (9.0, 0.0)}, {"name": "not a name"}):
        answer = server.edit(book, Edit.ADD, ConsumerSpec(**{**vars(THERE), **wrong}))
        assert not answer.accepted
        assert "expected" in answer.message


def test_parts_of_a_whole_wait_for_each_other_and_are_made_all_or_none(team: Team) -> None:
    book = DemandBook.for_team(team)
    here = ConsumerSpec(**{**vars(THERE), "name": "elsewhere", "position_m": (-1.5, -1.5)})
    overlapping = ConsumerSpec(**{**vars(THERE), "name": "here", "position_m": (1.4, 1.5)})

    def asked(name: str, other: ConsumerSpec) -> list[server.EditRequest]:
        ids = server.parts(name, 2)
        return [server.EditRequest(Edit.ADD, it, id_) for it, id_ in zip((THERE, other), ids, strict=True)]

    before = book.accounts.dump()
    alone = server.EditRequest(Edit.REMOVE, THERE, "alone")
    first, second = asked("whole", overlapping)
    assert server.edits(book, [first]) == [None]
    answers = server.edits(book, [second, alone, first, first])
    assert [answer is not None and answer.accepted for answer in answers] == [False] * 4
    assert book.accounts.dump() == before
    first, second = asked("again", here)
    answers = server.edits(book, [second, first, second])
    assert answers == [server.Answer(True)] * 3
    assert {"elsewhere", "there"} <= set(book.accounts.entries)
    assert all(answer is not None and answer.accepted for answer in server.edits(book, [first, second]))
