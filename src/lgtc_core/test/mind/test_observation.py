"""Layout of observation and action: widths, both libraries, age and range of messages."""

import numpy as np
import pytest

from lgtc_core.mind import observation as layout


def test_rows_have_the_stated_widths_and_order() -> None:
    p, supply = np.array([0.1, 0.2]), np.array([0.3, 0.4])
    assert list(layout.own(p, supply)) == [0.1, 0.2, 0.3, 0.4]
    assert layout.own(p, supply).shape == (layout.own_width(2),)
    d, demanded, remaining = np.ones((3, 2)), np.full((3, 2), 5.0), np.full((3, 2), 2.0)
    kind = np.array([[0, 1]] * 3)
    rows = layout.consumers(d, demanded, remaining, kind)
    assert rows.shape == (3, layout.consumer_width(2))
    assert list(rows[0]) == [1, 1, 2, 5, 2, 2, 0, 1]  # outstanding: instantaneous remaining, 0-depletion demanded


def test_a_message_counts_only_from_within_the_radius_and_while_it_is_young() -> None:
    p, heard = np.zeros(2), np.array([[0.9, 0.0], [1.1, 0.0], [0.0, 0.5], [0.0, 0.5]])
    age = np.array([1.0, 1.0, layout.MESSAGE_LIFETIME_TICKS, layout.MESSAGE_LIFETIME_TICKS + 1])
    assert list(layout.usable(p, heard, age, 1.0)) == [True, False, True, False]
    assert np.allclose(layout.seen(np.array([1.0, 0.0]), heard, age)[0], [-0.1, 0.0, 1.0])


def test_an_action_becomes_a_velocity_of_at_most_the_speed() -> None:
    velocity = layout.action_to_velocity(np.array([[3.0, 4.0], [0.3, 0.0]]), 2.0)
    assert np.allclose(velocity, [[1.2, 1.6], [0.6, 0.0]])


def test_torch_gives_what_numpy_gives() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    d, demanded, remaining = rng.random((4, 3, 2)), rng.random((4, 3, 2)), rng.random((4, 3, 2))
    kind = rng.integers(0, 2, (4, 3, 2))
    ours = layout.consumers(d, demanded, remaining, kind)
    theirs = layout.consumers(*(torch.from_numpy(x) for x in (d, demanded, remaining, kind)))
    assert np.allclose(ours, theirs.numpy())
