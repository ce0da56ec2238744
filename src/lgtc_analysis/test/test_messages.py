"""Messages from plain values, without ROS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rosbags.typesys.store import Typestore

from lgtc_analysis.messages import (
    build,
    read_definitions,
    recorded_topics,
    register,
    stamp,
    stamp_ns,
    typestore,
)
from lgtc_core.errors import ContractError

STATUS = "lgtc_interfaces/msg/VehicleStatus"
POLICY = "lgtc_interfaces/msg/PolicyState"


def test_every_recorded_topic_has_a_type_that_the_typestore_can_serialize(types: Typestore) -> None:
    for topic in recorded_topics(["cf1", "cf2"]):
        empty = build(types, topic.type)
        raw = types.serialize_cdr(empty, topic.type)
        assert types.serialize_cdr(types.deserialize_cdr(raw, topic.type), topic.type) == raw


def test_topics_of_a_team_are_distinct_and_name_every_drone() -> None:
    names = [topic.name for topic in recorded_topics(["cf1", "cf2"])]
    assert len(names) == len(set(names))
    assert {name.split("/")[1] for name in names} >= {"cf1", "cf2"}


def test_values_survive_a_round_trip_through_cdr(types: Typestore) -> None:
    values = {
        "header": 12.25,
        "sequence": 7,
        "action": (0.5, -0.25),
        "consumers": ["west", "east"],
        "assignment": [0.75, 0.25],
        "chosen": -1,
        "state": np.linspace(-1, 1, 5),
        "step_time_s": 0.5,
    }
    back = types.deserialize_cdr(types.serialize_cdr(build(types, POLICY, values), POLICY), POLICY)
    assert (back.header.stamp.sec, back.header.stamp.nanosec, back.header.frame_id) == (12, 250_000_000, "world")
    assert (back.sequence, back.chosen, back.consumers) == (7, -1, ["west", "east"])
    np.testing.assert_array_equal(back.action, [0.5, -0.25])
    np.testing.assert_allclose(back.state, np.linspace(-1, 1, 5), atol=1e-7)


def test_a_sequence_of_three_is_a_point_and_nested_messages_are_mappings(types: Typestore) -> None:
    message = build(
        types, "geometry_msgs/msg/PoseStamped", {"pose": {"position": (1, 2, 3), "orientation": {"w": 1.0}}}
    )
    position = message.pose.position
    assert (position.x, position.y, position.z, message.pose.orientation.w) == (1.0, 2.0, 3.0, 1.0)


@given(st.integers(0, 2**31 * 10**6))
def test_stamps_are_exact_to_the_microsecond(microseconds: int) -> None:
    class Time:
        sec, nanosec = stamp(microseconds / 1e6).values()

    assert round(stamp_ns(Time) / 1000) == microseconds


@pytest.mark.parametrize(
    ("values", "got"),
    [
        ({"speed": 1}, "field 'speed'"),
        ({"reference": (1, 2)}, r"\(1, 2\)"),
        ({"header": {"time": 1}}, "field 'time'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(types: Typestore, values: dict, got: str) -> None:
    with pytest.raises(ContractError, match=got):
        build(types, STATUS, values)


def test_an_array_of_the_wrong_length_is_refused(types: Typestore) -> None:
    with pytest.raises(ContractError, match="got 3 entries; expected 2"):
        build(types, POLICY, {"action": (1, 2, 3)})


def test_a_definition_that_contradicts_a_known_type_is_refused(types: Typestore) -> None:
    with pytest.raises(ContractError, match="definition of std_msgs/msg/String"):
        register(types, "std_msgs/msg/String", "int32 data\n")
    with pytest.raises(ContractError, match="definition of a/msg/B"):
        typestore({"a/msg/B": "this is not a message definition"})


def test_a_folder_without_definitions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"no \.msg file"):
        read_definitions(tmp_path)


def test_type_hashes_equal_those_of_the_built_interfaces(types: Typestore) -> None:
    built = Path(__file__).parents[3] / "install" / "lgtc_interfaces" / "share" / "lgtc_interfaces" / "msg"
    descriptions = sorted(built.glob("*.json"))
    if not descriptions:
        pytest.skip("lgtc_interfaces is not built here, so there is no hash to compare with")
    for path in descriptions:
        hashes = {one["type_name"]: one["hash_string"] for one in json.loads(path.read_text())["type_hashes"]}
        name = f"lgtc_interfaces/msg/{path.stem}"
        assert types.hash_rihs01(name) == hashes[name]
