"""What the demand server does with what it hears: resource states and edits into the book."""

from __future__ import annotations

from lgtc_core.demand.book import Answer, DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.fleet.team import Edit
from lgtc_core.flight.phases import Tier
from lgtc_core.wire import Resources


def report(book: DemandBook, drone: str, resources: Resources) -> Answer:
    """A drone's resource state, as its word about where it is and what it carries."""
    if resources.kinds != book.kinds:
        got, expected = ", ".join(resources.kinds) or "none", ", ".join(book.kinds)
        return Answer(False, f"resources of {drone}: got the kinds {got}; expected {expected}, one fleet file for all")
    leaving = resources.tier >= Tier.HAND_OVER
    return book.presence(
        drone, resources.stamp_s, resources.position_m[:2], resources.supply, resources.serving, leaving
    )


def edit(book: DemandBook, operation: int, consumer: ConsumerSpec, request_id: str = "") -> Answer:
    """A consumer comes, changes or goes; `operation` is one of `Edit`, `request_id` as in `DemandBook.add`."""
    try:
        wanted = Edit(operation)
    except ValueError:
        return Answer(False, f"operation {operation}; expected {', '.join(f'{e.value} {e.name}' for e in Edit)}")
    if wanted is Edit.REMOVE:
        return book.remove(consumer.name, request_id)
    return (book.add if wanted is Edit.ADD else book.change)(consumer, request_id)
