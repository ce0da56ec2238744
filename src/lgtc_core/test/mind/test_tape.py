"""Tapes beside onnxruntime: every operator, the model that flies, and what is done where there can be no tape."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lgtc_core.mind import observation as layout
from lgtc_core.mind.observation import Observation
from lgtc_core.mind.policy import PolicyModel, Session
from lgtc_core.mind.tape import NotOnTapeError, Tape
from lgtc_core.mind.taped import Taped

onnx = pytest.importorskip(
    "onnx", reason="the package onnx reads networks for tapes; without it, onnxruntime runs them"
)

MODEL = Path(__file__).parents[4] / "models/lgtc"
TOLERANCE = 2e-6
"""Of numbers around 1 in float32, summed in another order."""

Array = npt.NDArray[Any]
Node = tuple[str, list[str], dict[str, Any]]
"""Operator, inputs, attributes."""


def network(folder: Path, nodes: list[Node], puts: tuple[str, str] = ("x", "y"), **constants: Array) -> Path:
    """A graph of nodes in a row: two inputs (agents, rows, 6), "$" is what the node before gave."""
    made, before = [], puts[0]
    for index, (operator, inputs, attributes) in enumerate(nodes):
        named = [before if name == "$" else name for name in inputs]
        before = f"out{index}"
        made.append(onnx.helper.make_node(operator, named, [before], **attributes))
    given = [onnx.helper.make_tensor_value_info(name, 1, ["agents", "rows", 6]) for name in puts]
    result = onnx.helper.make_tensor_value_info(before, 1, None)
    weights = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = onnx.helper.make_graph(made, "test", given, [result], weights)
    path = folder / "graph.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10), str(path))
    return path


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


WEIGHTS = np.random.default_rng(3).normal(size=(6, 11)).astype(np.float32)
CAST: Node = ("Cast", ["$"], {"to": 1})

CASES: dict[str, tuple[list[Node], dict[str, Array]]] = {
    **{name: ([(name, ["x", "y"], {})], {}) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    **{name: ([("Mul", ["x", "x"], {}), (name, ["$"], {})], {}) for name in ("Sqrt", "Exp", "Log", "Tanh", "Neg")},
    "Relu": ([("Relu", ["x"], {})], {}),
    "Reciprocal": ([("Reciprocal", ["x"], {})], {}),
    "broadcast": ([("Add", ["x", "c"], {})], {"c": floats(1, 2, 3, 4, 5, 6)}),
    "Equal": ([("Max", ["x", "y"], {}), ("Equal", ["$", "x"], {}), CAST], {}),
    "Greater": ([("Greater", ["x", "y"], {}), CAST], {}),
    "LessOrEqual": ([("LessOrEqual", ["x", "y"], {}), CAST], {}),
    "And": ([("Greater", ["x", "y"], {}), ("And", ["$", "$"], {}), CAST], {}),
    "Where": ([("Greater", ["x", "y"], {}), ("Where", ["$", "c", "y"], {})], {"c": floats(-7)}),
    "Clip": ([("Clip", ["x", "low", "high"], {})], {"low": np.float32(-0.4), "high": np.float32(0.3)}),
    "Clip below": ([("Clip", ["x", "low"], {})], {"low": np.float32(-0.4)}),
    "Clip above": ([("Clip", ["x", "", "high"], {})], {"high": np.float32(0.3)}),
    "Pow": ([("Pow", ["x", "two"], {})], {"two": np.float32(2)}),
    "Concat": ([("Concat", ["x", "y", "x"], {"axis": -1})], {}),
    "Concat of rows": ([("Concat", ["x", "y"], {"axis": 1})], {}),
    "Slice": ([("Slice", ["x", "a", "b", "axis", "step"], {})],
              {"a": ints(1), "b": ints(2**62), "axis": ints(2), "step": ints(2)}),
    "Gather": ([("Gather", ["x", "last"], {"axis": 2})], {"last": np.int64(-1)}),
    "Transpose": ([("Transpose", ["x"], {"perm": [0, 2, 1]})], {}),
    "Unsqueeze": ([("Unsqueeze", ["x", "one"], {}), ("Mul", ["$", "c"], {})], {"one": ints(1), "c": floats(2)}),
    "Squeeze": ([("ReduceSum", ["x", "axes"], {}), ("Squeeze", ["$", "axes"], {})], {"axes": ints(1)}),
    "Shape, Expand": ([("Shape", ["x"], {}), ("Expand", ["c", "$"], {}), ("Add", ["$", "y"], {})], {"c": floats(3)}),
    "Shape, Range": (
        [("Shape", ["x"], {"start": 2}), ("Squeeze", ["$"], {}), CAST, ("Range", ["zero", "$", "one"], {}),
         ("Add", ["$", "x"], {})],
        {"zero": np.float32(0), "one": np.float32(1)},
    ),
    "ConstantOfShape": ([("Shape", ["x"], {}), ("ConstantOfShape", ["$"], {}), ("Add", ["$", "x"], {})], {}),
    "Reshape": ([("Transpose", ["x"], {"perm": [0, 2, 1]}), ("Reshape", ["$", "flat"], {})], {"flat": ints(0, -1)}),
    "Softmax": ([("Softmax", ["x"], {"axis": -1})], {}),
    "ArgMax": ([("ArgMax", ["x"], {"axis": -1, "keepdims": 0}), CAST], {}),
    "ArgMax of equals": ([("Relu", ["x"], {}), ("Neg", ["$"], {}), ("ArgMax", ["$"], {"axis": -1}), CAST], {}),
    "ScatterElements": (
        [("Slice", ["y", "a", "b", "axis", "step"], {}), ("ArgMax", ["x"], {"axis": -1}),
         ("ScatterElements", ["y", "$", "out0"], {"axis": -1})],
        {"a": ints(0), "b": ints(1), "axis": ints(2), "step": ints(1)},
    ),
    **{
        f"{name} {axes} {keep}": ([(name, ["x", "axes"], {"keepdims": keep})], {"axes": ints(*axes)})
        for name in ("ReduceSum", "ReduceMax", "ReduceMin")
        for axes in ((-1,), (1,), (0,), (-2, -1))
        for keep in (0, 1)
    },
    "ReduceSum of all": ([("ReduceSum", ["x"], {})], {}),
    "MatMul with weights": ([("MatMul", ["x", "w"], {})], {"w": WEIGHTS}),
    "MatMul of both": ([("Transpose", ["y"], {"perm": [0, 2, 1]}), ("MatMul", ["x", "$"], {})], {}),
    "MatMul into few": ([("MatMul", ["x", "w"], {})], {"w": WEIGHTS[:, :3]}),
    "Gemm": ([("ReduceSum", ["x", "axes"], {"keepdims": 0}), ("Gemm", ["$", "w", "b"], {"transB": 1})],
             {"axes": ints(1), "w": np.ascontiguousarray(WEIGHTS.T), "b": WEIGHTS[0]}),
    "Gemm without bias": ([("ReduceSum", ["x", "axes"], {"keepdims": 0}), ("Gemm", ["$", "w"], {})],
                          {"axes": ints(1), "w": WEIGHTS}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_answers_as_onnxruntime(name: str, tmp_path: Path) -> None:
    nodes, constants = CASES[name]
    check(network(tmp_path, nodes, **constants))


def check(path: Path) -> None:
    """Several sizes, one after the other and again: plans are kept, their arenas hold what was there before."""
    tape, session, rng = Tape(path), Session(path), np.random.default_rng(0)
    for agents, rows in ((3, 5), (1, 1), (2, 16), (3, 5), (3, 5)):
        feed = {name: rng.normal(size=(agents, rows, 6)).astype(np.float32) for name in ("x", "y")}
        for got, expected in zip(tape.run(feed), session.run(feed), strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=TOLERANCE, atol=TOLERANCE)


def observation(model: PolicyModel, rng: np.random.Generator, agents: int, consumers: int, heard: int) -> Observation:
    """Anything that may be seen."""
    card = model.card

    def draw(*size: int) -> npt.NDArray[np.float32]:
        return rng.uniform(-1.0, 1.0, size).astype(np.float32)

    return Observation(
        own=draw(agents, layout.own_width(card.resource_kinds)),
        consumers=np.abs(draw(agents, consumers, layout.consumer_width(card.resource_kinds))),
        consumer_mask=(rng.random((agents, consumers)) < 0.8).astype(np.float32),
        neighbours=draw(agents, heard, card.message_width).round(),
        neighbours_seen=np.abs(draw(agents, heard, 3)) + np.float32(1.0),
        neighbour_mask=(rng.random((agents, heard)) < 0.7).astype(np.float32),
        state=draw(agents, card.state_width).round(),
    )


@pytest.mark.parametrize(("agents", "consumers", "heard"), [(1, 1, 1), (5, 4, 3), (2, 16, 7), (16, 4, 15)])
def test_the_model_that_flies_answers_as_by_onnxruntime(agents: int, consumers: int, heard: int) -> None:
    reference, taped, rng = PolicyModel(MODEL), PolicyModel(MODEL, Taped), np.random.default_rng(agents)
    for _ in range(20):
        seen = observation(reference, rng, agents, consumers, heard)
        for got, expected in zip(taped.step(seen), reference.step(seen), strict=True):
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_not_hidden(value: float) -> None:
    taped = PolicyModel(MODEL, Taped)
    seen = observation(taped, np.random.default_rng(0), 2, 3, 2)
    seen.own[1, 2] = value
    answer = taped.step(seen)
    assert np.isfinite(answer.action[0]).all()
    assert not np.isfinite(np.concatenate([answer.action[1], answer.message[1], answer.state[1]])).all()


@pytest.mark.parametrize("operator", ["Max", "Min"])
def test_the_larger_of_what_is_not_a_number_is_not_one(operator: str, tmp_path: Path) -> None:
    x, y = np.zeros((2, 1, 3, 6), np.float32)
    x[0, 0, 0] = y[0, 1, 1] = np.nan
    (answer,) = Tape(network(tmp_path, [(operator, ["x", "y"], {})])).run({"x": x, "y": y})
    assert np.argwhere(np.isnan(answer)).tolist() == [[0, 0, 0], [0, 1, 1]]


def test_what_is_answered_is_not_changed_by_the_next_tick() -> None:
    taped, rng = PolicyModel(MODEL, Taped), np.random.default_rng(0)
    first = taped.step(observation(taped, rng, 4, 3, 2))
    before = [part.copy() for part in first]
    taped.step(observation(taped, rng, 4, 3, 2))
    for got, expected in zip(first, before, strict=True):
        np.testing.assert_array_equal(got, expected)


def test_what_has_no_place_on_a_tape_is_run_by_onnxruntime(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = network(tmp_path, [("Sin", ["$"], {})], ("neighbours", "y"))
    feed = {name: np.ones((2, 3, 6), np.float32) for name in ("neighbours", "y")}
    with pytest.raises(NotOnTapeError, match="Sin"):
        Tape(path).run(feed)
    with caplog.at_level(logging.WARNING):
        answers = Taped(path).run(feed)
    np.testing.assert_allclose(answers[0], np.sin(feed["neighbours"]), rtol=1e-6)
    assert "graph.onnx" in caplog.text
    assert "Sin" in caplog.text


def test_what_is_equal_for_all_agents_may_lie_in_memory_once() -> None:
    reference, taped, rng = PolicyModel(MODEL), PolicyModel(MODEL, Taped), np.random.default_rng(2)
    seen = observation(reference, rng, 5, 4, 3)
    seen = seen._replace(
        consumers=np.broadcast_to(seen.consumers[0], seen.consumers.shape),
        consumer_mask=np.broadcast_to(seen.consumer_mask[0], seen.consumer_mask.shape),
    )
    for got, expected in zip(taped.step(seen), reference.step(seen), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_without_the_package_onnx_onnxruntime_runs_the_network(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(1)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with caplog.at_level(logging.WARNING):
        model = PolicyModel(MODEL, Taped)
    assert "onnx" in caplog.text
    assert np.isfinite(model.step(observation(model, rng, 2, 3, 2)).action).all()
