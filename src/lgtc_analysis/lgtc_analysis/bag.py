"""Bags of flights: written message by message as they arrive, read back as typed arrays. rosbag2, storage
MCAP, no ROS needed.

`ros2 bag info`, `ros2 bag play` and other MCAP tools read what `BagWriter` writes. Chunks are closed and
handed to the operating system at least every `FLUSH_S` of receive time, so that a killed recorder loses no
more than that; `read_flight` also reads such an unfinished bag, up to its last whole chunk, and says so.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import Reader, ReaderError, StoragePlugin, Writer, WriterError
from rosbags.rosbag2.storage_mcap import McapReader, McapWriter
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore
from rosbags.typesys.store import Typestore

from lgtc_analysis.flight import Flight, Received, flight_from_messages
from lgtc_analysis.info import FlightInfo
from lgtc_analysis.messages import DRONE_TOPICS, NS_PER_S, TEAM_TOPICS, RecordedTopic, build, register
from lgtc_core import topics
from lgtc_core.errors import ContractError

BAG_VERSION: Literal[9] = 9
"""rosbag2's metadata version of Jazzy."""
FLUSH_S = 0.25
"""Longest receive time that one chunk spans [s]."""
MCAP_MAGIC = b"\x89MCAP0\r\n"
MCAP_HEADER, MCAP_DATA_END = 0x01, 0x0F
EXPECTED_BAG = "the folder (or .mcap file) of a recorded flight"


class BagWriter:
    """Writes one flight to a rosbag2 folder. Use it as a context manager, or call `close`.

    Args:
        path: folder to create; must not exist.
        types: typestore that knows every type that will be written (`lgtc_analysis.messages.typestore`).

    Raises:
        ContractError: the folder exists already or cannot be created.
    """

    def __init__(self, path: Path | str, types: Typestore) -> None:
        self.path, self.types = Path(path), types
        self._connections: dict[str, Connection] = {}
        self._flushed_ns: int | None = None
        try:
            self._writer = Writer(self.path, version=BAG_VERSION, storage_plugin=StoragePlugin.MCAP)
            self._writer.open()
        except (WriterError, OSError) as error:
            raise ContractError(str(self.path), str(error), "the name of a folder that does not exist yet") from None

    def add_topic(self, topic: RecordedTopic, *, reliable: bool = True, depth: int = 10) -> None:
        """Announce a topic before its first message.

        Args:
            topic: name, type, and whether it is transient local.
            reliable: whether the messages were offered as reliable (else best effort).
            depth: depth of the history that they were offered with.

        Raises:
            ContractError: the typestore does not know the type, or the topic stands in the bag already.
        """
        if topic.type not in self.types.fielddefs:
            raise ContractError(f"{self.path}: {topic.name}", f"unknown type {topic.type}", "a type of the typestore")
        if topic.name in self._connections:
            raise ContractError(f"{self.path}: {topic.name}", "added twice", "each topic once")
        self._connections[topic.name] = self._writer.add_connection(
            topic.name,
            topic.type,
            typestore=self.types,
            offered_qos_profiles=[_qos(topic.latched, reliable, depth)],
        )

    def write(self, topic: str, received_ns: int, cdr: bytes | memoryview) -> None:
        """Append one serialized message.

        Args:
            topic: name of an announced topic.
            received_ns: time of receipt by the recorder's clock [ns].
            cdr: the message as DDS carries it, encapsulation header included.

        Raises:
            ContractError: the topic was not announced.
        """
        if topic not in self._connections:
            raise ContractError(f"{self.path}: {topic}", "a message of an unknown topic", "add_topic first")
        self._writer.write(self._connections[topic], received_ns, cdr)
        if self._flushed_ns is None:
            self._flushed_ns = received_ns
        if received_ns - self._flushed_ns >= FLUSH_S * NS_PER_S:
            self._flushed_ns = received_ns
            self.flush()

    def write_values(self, topic: str, received_ns: int, values: Mapping[str, Any]) -> None:
        """Append one message from plain values, as `lgtc_analysis.messages.build` takes them."""
        if topic not in self._connections:
            raise ContractError(f"{self.path}: {topic}", "a message of an unknown topic", "add_topic first")
        kind = self._connections[topic].msgtype
        self.write(topic, received_ns, self.types.serialize_cdr(build(self.types, kind, values), kind))

    def write_info(self, received_ns: int, info: FlightInfo) -> None:
        """Append how the flight is made, on ``/flight_info``."""
        self.write_values(topics.FLIGHT_INFO, received_ns, {"data": info.to_json()})

    def flush(self) -> None:
        """Close the running chunk and hand it to the operating system: what was written until now survives a
        kill -9.
        """
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()

    def close(self) -> None:
        """Write index and metadata.yaml. A second call does nothing."""
        if self._writer.storage is not None:
            self._writer.close()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_flight(path: Path | str) -> Flight:
    """Flight of a bag, definitions of the messages included: nothing but the bag is needed.

    Args:
        path: folder of the bag, or its .mcap file. A bag whose recorder was killed is read as far as it goes.

    Raises:
        ContractError: no such file, not a bag, a topic with another type than expected, or required topics
            missing.
    """
    path = Path(path)
    received: dict[str, Received] = {}
    types = get_typestore(Stores.ROS2_JAZZY)
    bag = _RawBag(path)

    def wanted(connection: Connection) -> bool:
        expected = _expected_type(connection.topic)
        if expected is not None and connection.msgtype != expected:
            raise ContractError(f"{path}: {connection.topic}", f"type {connection.msgtype}", expected)
        if expected is not None and expected not in types.fielddefs:
            register(types, expected, connection.msgdef.data)
        return expected is not None

    with _no_garbage_collection():
        for connection, received_ns, raw in bag.messages(wanted):
            try:
                message = types.deserialize_cdr(raw, connection.msgtype)
            except SerdeError as error:
                where = f"{path}: {connection.topic} at {received_ns} ns"
                raise ContractError(where, str(error), connection.msgtype) from error
            received.setdefault(connection.topic, []).append((received_ns, message))
        for messages in received.values():
            messages.sort(key=lambda pair: pair[0])
        return flight_from_messages(str(path), received, bag.unfinished)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Reading makes many objects and no cycles; looking for cycles among them costs as much as the reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _expected_type(topic: str) -> str | None:
    """Type of a topic that belongs to a flight; None for any other."""
    for one in TEAM_TOPICS:
        if one.name == topic:
            return one.type
    drone, _, name = topic.removeprefix("/").partition("/")
    return DRONE_TOPICS.get(name) if drone else None


class _RawBag:
    """Raw messages of a bag, finished or not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = ""
        """Why the bag is known to be cut short; known after reading."""
        if not path.exists():
            raise ContractError(str(path), "no such file or folder", EXPECTED_BAG)
        has_metadata = (path / "metadata.yaml").exists()
        self._sources = sorted(path.glob("*.mcap")) if path.is_dir() else [path]
        if not self._sources and has_metadata:
            self._sources = [path]  # another storage, or compressed files
        if not self._sources or not (has_metadata or all(one.suffix == ".mcap" for one in self._sources)):
            raise ContractError(str(path), "neither metadata.yaml nor a .mcap file", EXPECTED_BAG)
        if path.is_dir() and not has_metadata:
            self.unfinished = "metadata.yaml is missing: the recorder did not end properly"

    def messages(self, wanted: Callable[[Connection], bool]) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, receive time [ns], CDR bytes) of the connections that are wanted, file by file."""
        for source in self._sources:
            with self._opened(source) as reader:
                yield from reader.messages([one for one in reader.connections if wanted(one)])

    @contextmanager
    def _opened(self, source: Path) -> Iterator[Reader | _UnfinishedMcap]:
        try:
            if source.suffix == ".mcap" and not _is_finished(source):
                self.unfinished = f"{source.name} has no end: read up to its last whole chunk"
                with _UnfinishedMcap(source) as salvaged:
                    yield salvaged
            else:
                with Reader(source) as reader:
                    yield reader
        except (ReaderError, OSError) as error:
            raise ContractError(str(source), str(error), f"{EXPECTED_BAG}, undamaged") from None


class _UnfinishedMcap:
    """MCAP file without its end: schemas, channels and messages of the whole records that it holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = McapReader(path)
        self._reader.bio = path.open("rb")
        try:
            self._reader.data_start, self._reader.data_end = self._extent()
            self._reader.meta_scan()
        except BaseException:
            self._reader.close()
            raise
        self.connections = list(self._reader.connections)

    def messages(self, connections: list[Connection]) -> Iterator[tuple[Connection, int, bytes]]:
        """(connection, receive time [ns], CDR bytes) in the order of writing."""
        return self._reader.messages_scan(connections)

    def _extent(self) -> tuple[int, int]:
        """Offsets of the first record after the header, and of the end of the last whole record."""
        size = self.path.stat().st_size
        with self.path.open("rb") as file:
            if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                raise ContractError(str(self.path), "a file that does not begin like an MCAP", EXPECTED_BAG)
            begin = end = 0
            while len(head := file.read(9)) == 9:
                operation, length = head[0], int.from_bytes(head[1:], "little")
                if file.tell() + length > size or operation == MCAP_DATA_END:
                    break
                end = file.seek(length, 1)
                if operation == MCAP_HEADER:
                    begin = end
        if not begin:
            raise ContractError(str(self.path), "no whole header", EXPECTED_BAG)
        return begin, end

    def __enter__(self) -> _UnfinishedMcap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()


def _is_finished(path: Path) -> bool:
    """Whether an MCAP file ends as it must; an empty file or another format counts as finished and fails when
    opened.
    """
    with path.open("rb") as file:
        if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
            return True
        file.seek(-len(MCAP_MAGIC), 2)
        return file.tell() > len(MCAP_MAGIC) and file.read() == MCAP_MAGIC


def _qos(latched: bool, reliable: bool, depth: int) -> Qos:
    forever = QosTime(sec=9223372036, nsec=854775807)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )
