"""Fixtures of all packages: a small model that flies without training, so that the loop's tests need no trained one,
and a ROS domain for each test that starts nodes.
"""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

# score of a consumer = 2 min(remaining, 1) + .8 [inside its disc] - distance; fly towards the best, slower when near.
GREEDY = """
<ir_version: 8, opset_import: ["": 17]>
greedy (float[B, 6] own, float[B, M, 14] consumers, float[B, M] consumer_mask, float[B, 1] state)
    => (float[B, 2] action, float[B, 2] message, float[B, 1] state_out, float[B, M] assignment)
<float[1] zero = {0}, float[1] one = {1}, float[1] two = {2}, float[1] ten = {10}, float[1] far = {1000},
 float[1] rim = {0.2}, float[1] bonus = {0.8}, float[1] tiny = {1e-9}, float[1] gain = {4}, float[1] keep = {0.9},
 float[1] gather = {0.1}, int64[1] i0 = {0}, int64[1] i2 = {2}, int64[1] i6 = {6}, int64[1] i10 = {10},
 int64[1] last = {-1}, int64[1] middle = {1}>
{
    p = Slice(own, i0, i2, last)
    d = Slice(consumers, i0, i2, last)
    remaining_k = Slice(consumers, i6, i10, last)
    p_row = Unsqueeze(p, middle)
    offset = Sub(d, p_row)
    square = Mul(offset, offset)
    sum_square = ReduceSum<keepdims = 0>(square, last)
    safe = Add(sum_square, tiny)
    distance = Sqrt(safe)
    remaining = ReduceSum<keepdims = 0>(remaining_k, last)
    wanted = Min(remaining, one)
    wanted_twice = Mul(wanted, two)
    inside = Less(distance, rim)
    inside_f = Cast<to = 1>(inside)
    stay = Mul(inside_f, bonus)
    gain_of = Add(wanted_twice, stay)
    score = Sub(gain_of, distance)
    absent = Sub(one, consumer_mask)
    penalty = Mul(absent, far)
    masked = Sub(score, penalty)
    sharp = Mul(masked, ten)
    assignment = Softmax<axis = -1>(sharp)
    chosen = ArgMax<axis = -1, keepdims = 1>(masked)
    chosen_2 = Unsqueeze(chosen, last)
    pairs = Concat<axis = -1>(chosen_2, chosen_2)
    towards_row = GatherElements<axis = 1>(offset, pairs)
    towards = Squeeze(towards_row, middle)
    there = GatherElements<axis = 1>(consumer_mask, chosen)
    wish = Mul(towards, gain)
    wish_masked = Mul(wish, there)
    wish_square = Mul(wish_masked, wish_masked)
    length_square = ReduceSum<keepdims = 1>(wish_square, last)
    length = Sqrt(length_square)
    divisor = Max(length, one)
    action = Div(wish_masked, divisor)
    message = Identity(p)
    kept = Mul(state, keep)
    state_out = Add(kept, gather)
}
"""


@pytest.fixture(scope="session")
def greedy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a sealed model: every drone flies to the best place in its own eyes. Up to four resource kinds."""
    import onnx.parser

    from lgtc_core.mind.card import write_card

    directory = tmp_path_factory.mktemp("models") / "greedy"
    directory.mkdir()
    onnx.save(onnx.parser.parse_model(GREEDY), str(directory / "policy.onnx"))
    write_card(
        directory,
        name="greedy",
        created_utc="2025-01-01T00:00:00+00:00",
        network={"kind": "greedy, by hand"},
        resource_kinds=4,
        max_consumers=64,
        message_width=2,
        state_width=1,
        liquid_width=1,
        tick_s=0.05,
        communication_radius=1.0,
        disc_radius=0.22,
        speed_per_s=1.0,
        value_range=[0.0, 0.0],
        contraction_rate=0.0,
        training={},
        scores={},
    )
    return directory


@pytest.fixture
def ros_domain() -> Iterator[int]:
    """A ROS domain that no other test on this machine uses now, also not one of another checkout or worker."""
    for i in range(60):
        domain = 20 + (os.getpid() + i) % 60  # up to 79 the ports stay below those that Linux gives to clients
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(f"\0lgtc/test-domain/{domain}")  # Linux's abstract names: gone with the process
            except OSError:
                continue
            yield domain
            return
    pytest.fail("every ROS domain from 20 to 79 is in use by tests")
