"""What the demand server does with what it hears: resource states and edits into the book."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from lgtc_core.demand.book import Answer, ConsumerEdit, DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.fleet.team import Edit
from lgtc_core.flight.phases import Tier
from lgtc_core.wire import Resources

_HAND_OVER = Tier.HAND_OVER
_PART = re.compile(r"(?P<whole>.*)#(?P<number>[1-9]\d{0,3})/(?P<of>[1-9]\d{0,3})", re.DOTALL)


def report(book: DemandBook, drone: str, resources: Resources) -> Answer:
    """A drone's resource state, as its word about where it is and what it carries."""
    if resources.kinds != book.kinds:
        got, expected = ", ".join(resources.kinds) or "none", ", ".join(book.kinds)
        return Answer(False, f"resources of {drone}: got the kinds {got}; expected {expected}, one fleet file for all")
    leaving = resources.tier >= _HAND_OVER
    return book.presence(
        drone, resources.stamp_s, resources.position_m[:2], resources.supply, resources.serving, leaving
    )


class EditRequest(NamedTuple):
    """A request to edit a consumer, as it comes from the network."""

    operation: int
    """One of `Edit`."""
    consumer: ConsumerSpec
    request_id: str = ""
    """As in `ConsumerEdit`. Ids of the form ``NAME#1/3``, ``NAME#2/3``, ``NAME#3/3`` are the parts of one whole."""


def edit(book: DemandBook, operation: int, consumer: ConsumerSpec, request_id: str = "") -> Answer:
    """A consumer comes, changes or goes."""
    return _edited(book, [EditRequest(operation, consumer, request_id)])


def edits(book: DemandBook, requests: Sequence[EditRequest]) -> list[Answer | None]:
    """Answers to requests that wait. Parts of a whole are made together, all or none; None: parts of it are missing."""
    wholes: dict[tuple[str, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    answers: list[Answer | None] = [None] * len(requests)
    for n, request in enumerate(requests):
        part = _PART.fullmatch(request.request_id)
        if part is None:
            answers[n] = _edited(book, [request])
        else:
            wholes[part["whole"], int(part["of"])][int(part["number"])].append(n)
    for (_, of), by_number in wholes.items():
        if set(by_number) == set(range(1, of + 1)):
            answer = _edited(book, [requests[by_number[number][0]] for number in range(1, of + 1)])
            for n in chain(*by_number.values()):
                answers[n] = answer
    return answers


def parts(whole: str, count: int) -> list[str]:
    """Request ids of the parts of one whole."""
    return [f"{whole}#{number}/{count}" for number in range(1, count + 1)]


def _edited(book: DemandBook, requests: Sequence[EditRequest]) -> Answer:
    wanted = []
    for operation, consumer, request_id in requests:
        try:
            wanted.append(ConsumerEdit(Edit(operation), consumer, request_id))
        except ValueError:
            return Answer(False, f"operation {operation}; expected {', '.join(f'{e.value} {e.name}' for e in Edit)}")
    return book.edit_together(wanted)
