"""How a flight was made: the one message on ``/flight_info``, so that a report needs nothing but the bag."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from lgtc_core import schema, topics
from lgtc_core.errors import ConfigError, ContractError
from lgtc_core.mind.card import Policy


@dataclass(frozen=True)
class FlightInfo:
    """What the recorder knows about the flight when it starts."""

    name: Annotated[str, "Name of the scenario"]
    backend: Annotated[str, "What flew: offline, sim, crazyswarm2, gazebo"]
    team: Annotated[Any, "The resolved team as plain data"]
    receive_clock: Annotated[Literal["wall", "simulated"], "Clock of the receive times; latencies need the wall's"] = (
        "wall"
    )
    created_utc: Annotated[str, "Start of the recording, ISO 8601"] = ""
    seed: Annotated[int, "Seed of everything random in the flight"] = 0
    policy: Annotated[Policy, "Who decided: the model, or a yardstick at the model's tick"] = "model"
    model_card: Annotated[Mapping[str, Any], "card.json of the model, whoever decided; empty: none"] = field(
        default_factory=dict
    )
    plan: Annotated[Any, "Which process ran which nodes"] = None
    versions: Annotated[Mapping[str, str], "Versions of software, by name"] = field(default_factory=dict)
    command: Annotated[str, "Command line that started the flight"] = ""

    def to_json(self) -> str:
        """Text of the message."""
        return json.dumps(schema.dump(self))


def info_from_json(text: str, source: str) -> FlightInfo:
    """Inverse of `FlightInfo.to_json`. Keys that a newer recorder may have added are left out.

    Raises:
        ContractError: not JSON, or a key is missing or of the wrong type.
    """
    where = f"{source}: {topics.FLIGHT_INFO}"
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ContractError(where, str(error), "JSON") from None
    if not isinstance(data, dict):
        raise ContractError(where, type(data).__name__, "a JSON object")
    known = {one.name for one in dataclasses.fields(FlightInfo)}
    try:
        return schema.build(FlightInfo, {key: value for key, value in data.items() if key in known}, where)
    except ConfigError as error:
        raise ContractError(f"{where}: {error.key}", error.got, error.expected) from None
