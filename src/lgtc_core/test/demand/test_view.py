"""Demand view: a consumer keeps its row, free rows are masked, and what is met is counted by the world's
rules."""

from __future__ import annotations

import numpy as np
import pytest

from lgtc_core.demand.view import ConsumerView, DemandView
from lgtc_core.world import rules
from lgtc_core.world.arena import Arena

ARENA = Arena(centre_m=(1.0, 0.0), half_extent_m=(2.0, 4.0))


def _consumer(name: str, slot: int, demanded: list[float], remaining: list[float]) -> ConsumerView:
    kind = np.array([rules.INSTANTANEOUS, rules.ZERO_DEPLETION])
    return ConsumerView(name, slot, np.array([1.0, 2.0]), 0.5, np.array(demanded), np.array(remaining), kind, ())


VIEW = DemandView(
    7, ("parcel", "battery"), (_consumer("a", 1, [1.0, 0.0], [0.5, 0.0]), _consumer("b", 3, [0.0, 1.0], [0.0, 0.0]))
)


def test_the_row_of_a_consumer_is_its_slot_and_free_rows_are_masked() -> None:
    arrays = VIEW.arrays(ARENA, 2)
    assert arrays.mask.tolist() == [0, 1, 0, 1]
    assert arrays.demanded[1].tolist() == [1.0, 0.0]
    assert arrays.remaining[1].tolist() == [0.5, 0.0]
    assert arrays.kind[3].tolist() == [rules.INSTANTANEOUS, rules.ZERO_DEPLETION]
    np.testing.assert_allclose(arrays.d[3], [0.0, 0.5])
    assert not arrays.d[[0, 2]].any()


def test_kinds_that_the_fleet_does_not_have_are_zero() -> None:
    arrays = VIEW.arrays(ARENA, 4)
    assert arrays.demanded.shape == arrays.remaining.shape == arrays.kind.shape == (4, 4)
    assert not arrays.demanded[:, 2:].any()
    assert not arrays.remaining[:, 2:].any()


def test_more_kinds_than_the_network_has_are_refused() -> None:
    with pytest.raises(ValueError, match="2 resource kinds"):
        VIEW.arrays(ARENA, 1)


def test_a_view_without_consumers_has_one_masked_row_and_is_met() -> None:
    view = DemandView(1, ("parcel",), ())
    arrays = view.arrays(ARENA, 1)
    assert arrays.d.shape == (1, 2)
    assert arrays.mask.tolist() == [0]
    assert view.met
    assert view.share_met == 1.0


def test_the_share_met_is_that_of_the_amounts() -> None:
    assert VIEW.share_met == pytest.approx(0.75)
    assert not VIEW.met


def test_consumers_are_found_by_name() -> None:
    found = VIEW.consumer("b")
    assert found is not None
    assert found.slot == 3
    assert found.met
    assert VIEW.consumer("c") is None
