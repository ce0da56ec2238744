"""Bags: what is written is what is read, also after a crash; what is no bag is refused by name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.typesys.store import Typestore

from lgtc_analysis.bag import FLUSH_S, BagWriter, read_flight
from lgtc_analysis.flight import Flight
from lgtc_analysis.info import FlightInfo
from lgtc_analysis.messages import RecordedTopic, recorded_topics
from lgtc_core.errors import ContractError

Fly = Callable[..., Path]
START_NS = 10**18
MISSION, DEMAND = "lgtc_interfaces/msg/MissionState", "lgtc_interfaces/msg/Demand"


def write_poses(bag: BagWriter, team: dict, seconds: float, drones: tuple[str, ...]) -> None:
    """Ten messages a second per topic, nothing else."""
    for topic in recorded_topics(drones):
        bag.add_topic(topic)
    bag.write_info(START_NS, FlightInfo(name="poses", backend="test", team=team))
    for k in range(round(seconds * 10)):
        at_ns = START_NS + k * 100_000_000
        bag.write_values("/mission", at_ns, {"header": k / 10, "phase": 2, "elapsed_s": k / 10})
        bag.write_values("/demand", at_ns, {"header": k / 10, "kinds": ["battery", "parcel"]})
        for i, drone in enumerate(drones):
            bag.write_values(f"/{drone}/pose", at_ns, {"header": k / 10, "pose": {"position": (i, k, 1.0)}})


@pytest.fixture
def unfinished(tmp_path: Path, types: Typestore, flight: Flight) -> Path:
    """A bag whose recorder was killed: neither index nor metadata.yaml."""
    bag = BagWriter(tmp_path / "bag", types)
    write_poses(bag, flight.team.to_dict(), 4.0, flight.names)
    return bag.path


def test_what_is_written_is_read(tmp_path: Path, types: Typestore, flight: Flight) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        write_poses(bag, flight.team.to_dict(), 2.0, flight.names)
    back = read_flight(tmp_path / "bag")
    assert back.names == flight.names
    assert not back.unfinished
    for i, drone in enumerate(back.drones.values()):
        np.testing.assert_array_equal(drone.pose.position_m, [(i, k, 1.0) for k in range(20)])
        np.testing.assert_allclose(drone.pose.time_s, np.arange(20) / 10)
        np.testing.assert_allclose(drone.pose.received_s, np.arange(20) / 10)
    assert back.duration_s == pytest.approx(1.9)


def test_a_bag_of_a_killed_recorder_holds_all_but_the_last_chunk(unfinished: Path) -> None:
    flight = read_flight(unfinished)
    assert flight.unfinished
    lost_s = 3.9 - flight.drones["cf1"].pose.time_s[-1]
    assert 0 <= lost_s <= FLUSH_S + 0.1


def test_flushing_keeps_everything_written_until_then(tmp_path: Path, types: Typestore, flight: Flight) -> None:
    bag = BagWriter(tmp_path / "bag", types)
    write_poses(bag, flight.team.to_dict(), 1.0, flight.names)
    bag.flush()
    assert len(read_flight(bag.path).drones["cf1"].pose) == 10


def test_a_file_cut_anywhere_gives_a_prefix_or_a_named_error(unfinished: Path, tmp_path: Path) -> None:
    whole = next(unfinished.glob("*.mcap")).read_bytes()
    cut, longest = tmp_path / "cut.mcap", 0
    rng = np.random.default_rng(0)
    for size in sorted(np.append(rng.integers(0, len(whole), 12), len(whole) - 9)):
        cut.write_bytes(whole[:size])
        try:
            poses = read_flight(cut).drones["cf1"].pose.position_m
        except ContractError:
            assert longest == 0, "a longer file must not read worse"
        else:
            assert len(poses) >= longest
            np.testing.assert_array_equal(poses[:, 1], np.arange(len(poses)))
            longest = len(poses)
    assert longest > 30


def test_a_finished_bag_without_its_metadata_is_read_whole(fly: Fly, flight: Flight, tmp_path: Path) -> None:
    shutil.copytree(fly(), tmp_path / "bag")
    (tmp_path / "bag" / "metadata.yaml").unlink()
    back = read_flight(tmp_path / "bag")
    assert "metadata.yaml" in back.unfinished
    np.testing.assert_array_equal(back.drones["cf1"].pose.position_m, flight.drones["cf1"].pose.position_m)


def test_metadata_is_that_of_jazzy_with_qualities_of_service_and_type_hashes(fly: Fly) -> None:
    said = yaml.safe_load((fly() / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (said["version"], said["storage_identifier"]) == (9, "mcap")
    topics = {one["topic_metadata"]["name"]: one["topic_metadata"] for one in said["topics_with_message_count"]}
    assert topics["/demand"]["offered_qos_profiles"][0]["durability"] == "transient_local"
    assert topics["/cf1/pose"]["offered_qos_profiles"][0]["durability"] == "volatile"
    assert all(one["type_description_hash"].startswith("RIHS01_") for one in topics.values())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such file"):
        read_flight(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89MCAP0\r\n", b"\x89MCAP0\r\n" * 9])
def test_a_file_that_is_no_bag_is_refused(tmp_path: Path, content: bytes) -> None:
    for name in ("bag.mcap", "bag.txt"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ContractError, match=str(tmp_path)):
            read_flight(tmp_path / name)


def test_a_folder_that_is_no_bag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="neither"):
        read_flight(tmp_path)
    (tmp_path / "metadata.yaml").write_text("nonsense: true\n")
    (tmp_path / "bag.mcap").write_bytes(b"")
    with pytest.raises(ContractError):
        read_flight(tmp_path)


def test_missing_topics_are_named(tmp_path: Path, types: Typestore, flight: Flight) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        write_poses(bag, flight.team.to_dict(), 1.0, flight.names[:-1])
    with pytest.raises(ContractError, match="no message on /cf5/pose"):
        read_flight(tmp_path / "bag")


def test_a_bag_without_flight_info_is_refused(tmp_path: Path, types: Typestore) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        bag.add_topic(RecordedTopic("/mission", MISSION))
        bag.write_values("/mission", START_NS, {})
    with pytest.raises(ContractError, match="no message on /flight_info"):
        read_flight(tmp_path / "bag")


@pytest.mark.parametrize("info", ["", "[]", "{}", '{"name": 1}', '{"name": "a", "backend": "b", "team": {}}'])
def test_a_flight_info_that_does_not_say_who_flew_is_refused(tmp_path: Path, types: Typestore, info: str) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        bag.add_topic(RecordedTopic("/flight_info", "std_msgs/msg/String"))
        bag.write_values("/flight_info", START_NS, {"data": info})
    with pytest.raises(ContractError, match="/flight_info"):
        read_flight(tmp_path / "bag")


def test_a_topic_of_another_type_is_refused(tmp_path: Path, types: Typestore) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        bag.add_topic(RecordedTopic("/mission", "std_msgs/msg/String"))
        bag.write_values("/mission", START_NS, {"data": "hello"})
    with pytest.raises(ContractError, match="/mission: got type std_msgs/msg/String; expected " + MISSION):
        read_flight(tmp_path / "bag")


def test_a_message_that_does_not_decode_is_refused_with_its_topic(tmp_path: Path, types: Typestore) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        bag.add_topic(RecordedTopic("/demand", DEMAND))
        bag.write("/demand", START_NS, b"\x00\x01\x00\x00\xff\xff\xff")
    with pytest.raises(ContractError, match="/demand at 1000000000000000000 ns"):
        read_flight(tmp_path / "bag")


def test_the_writer_refuses_what_would_make_a_bad_bag(tmp_path: Path, types: Typestore) -> None:
    with BagWriter(tmp_path / "bag", types) as bag:
        bag.add_topic(RecordedTopic("/mission", MISSION))
        with pytest.raises(ContractError, match="added twice"):
            bag.add_topic(RecordedTopic("/mission", MISSION))
        with pytest.raises(ContractError, match="unknown type"):
            bag.add_topic(RecordedTopic("/x", "nowhere/msg/Nothing"))
        with pytest.raises(ContractError, match="unknown topic"):
            bag.write("/demand", START_NS, b"")
    with pytest.raises(ContractError, match="exists already"):
        BagWriter(tmp_path / "bag", types)
