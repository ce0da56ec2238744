"""ROS parameters from schema dataclasses: declared once, refused by name, described for `ros2 param describe`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import rclpy
from rclpy.node import Node
from rclpy.parameter import Parameter

from lgtc_core.errors import ConfigError
from lgtc_core.schema import Bounds
from lgtc_nodes.parameters import declare


@dataclass(frozen=True)
class Inner:
    margin_m: Annotated[float, Bounds(0.0, 5.0, "m"), "Kept on top"] = 0.5


@dataclass(frozen=True)
class Params:
    file: Annotated[str, "A file"]
    rate_hz: Annotated[int, Bounds(1, 100, "Hz"), "How often"] = 20
    on: Annotated[bool, "Whether at all"] = True
    weights: Annotated[tuple[float, ...], Bounds(0.0, 1.0), "One per thing"] = (0.5, 0.25)
    inner: Inner = field(default_factory=Inner)


@pytest.fixture
def context(ros_domain: int) -> Iterator[rclpy.Context]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=ros_domain)
    yield context
    rclpy.shutdown(context=context)


def declared(context: rclpy.Context, **overrides: Any) -> tuple[Node, Params]:
    node = Node(
        "tested",
        context=context,
        parameter_overrides=[Parameter(name.replace("__", "."), value=value) for name, value in overrides.items()],
    )
    try:
        return node, declare(node, Params)
    except ConfigError:
        node.destroy_node()
        raise


def test_defaults_and_overrides_reach_the_dataclass_and_the_parameters_alike(context: rclpy.Context) -> None:
    node, params = declared(context, file="a.yaml", inner__margin_m=2, weights=[0.1, 1.0])
    assert params == Params("a.yaml", 20, True, (0.1, 1.0), Inner(2.0))
    for name, value in {"file": "a.yaml", "rate_hz": 20, "on": True, "inner.margin_m": 2.0}.items():
        assert node.get_parameter(name).value == value
    assert list(node.get_parameter("weights").value) == [0.1, 1.0]
    node.destroy_node()


def test_a_parameter_describes_itself_with_range_and_unit(context: rclpy.Context) -> None:
    node, _ = declared(context, file="a.yaml")
    descriptor = node.describe_parameter("inner.margin_m")
    assert descriptor.description == "Kept on top [m]"
    assert descriptor.read_only
    assert (descriptor.floating_point_range[0].from_value, descriptor.floating_point_range[0].to_value) == (0.0, 5.0)
    assert node.describe_parameter("rate_hz").integer_range[0].to_value == 100
    node.destroy_node()


def test_a_flying_node_refuses_to_change_a_parameter(context: rclpy.Context) -> None:
    node, _ = declared(context, file="a.yaml")
    assert not node.set_parameters([Parameter("rate_hz", value=10)])[0].successful
    node.destroy_node()


@pytest.mark.parametrize(
    ("overrides", "key", "expected"),
    [
        ({}, "file", "text"),
        ({"file": "a", "rate_hertz": 20}, "rate_hertz", "rate_hz"),
        ({"file": "a", "inner__margin": 1.0}, "inner.margin", "inner.margin_m"),
        ({"file": "a", "rate_hz": 1000}, "rate_hz", "between 1 and 100 Hz"),
        ({"file": "a", "inner__margin_m": float("nan")}, "inner.margin_m", "between 0 and 5 m"),
        ({"file": "a", "on": "yes"}, "on", "true or false"),
        ({"file": 3}, "file", "text"),
        ({"file": "a", "weights": [0.5, 2.0]}, "weights[1]", "between 0 and 1"),
    ],
)
def test_a_wrong_or_unknown_parameter_is_refused_by_name(
    context: rclpy.Context, overrides: dict[str, Any], key: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        declared(context, **overrides)
    assert refusal.value.file == "/tested"
    assert refusal.value.key == key
    assert expected in refusal.value.expected
