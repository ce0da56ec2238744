"""An exported network as a tape: a list of small instructions that one compiled call carries out.

The network of one tick is some five hundred operators on arrays of a few dozen numbers, so that onnxruntime spends its
time between operators, half a microsecond each, not in them. A tape is made for given sizes, hence

    reshaping, slicing, broadcasting, transposing    is arithmetic on strides, and costs nothing when the tape runs
    what depends on sizes and weights alone          is computed once
    everything else                                  is an instruction, on one arena of float32

An instruction has an output and up to three operands, each an offset into the arena with a stride per dimension.
Reductions, softmax and argmax are made of them: an output whose stride is 0 along a dimension accumulates over it.

onnxruntime is the reference: test_tape.py holds the two together, operator by operator and as a whole. Who runs many
thousand ticks takes a tape (taped.py); a drone, which decides once per tick, runs onnxruntime and compiles nothing.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_core.compiled import compiled, compiling

Array = npt.NDArray[Any]
Array32 = npt.NDArray[np.float32]
Number = np.uint64
Unsigned = npt.NDArray[Number]

COPY, ADD, SUB, MUL, DIV, MAX, MIN, SQRT, EXP, LOG, TANH, EQUAL, GREATER, LESS_OR_EQUAL, WHERE, MATMUL = range(16)
"""Instructions. Truth is 1, falsehood 0. MATMUL: out[n] += sum_k a[k] b[k, n]."""

_DIMS = 4
"""Dimensions of an instruction, once those that lie behind each other in memory have been merged."""
_OUT, _A, _B, _C = (1 + _DIMS + (1 + _DIMS) * which for which in range(4))
"""Columns of an instruction on the tape: its code, the sizes, and of each array its offset and strides."""
_WIDTH = _C + 1 + _DIMS
_OPERATORS = 18
"""ONNX's operators, as they have been defined since this version of its set, are those that are meant here."""
_PLANS = 64
"""Combinations of sizes whose tapes are kept."""
_FITTED = 1024
"""Layouts of inputs for which it is kept what goes where."""
_ALIGNED = 16
"""Arrays begin at multiples of so many numbers, a cache line."""
_FEW = 8
"""Products of rows shorter than this are summed one by one."""
_FOUR = Number(4)

_ZERO, _ONE, _INFINITE = (np.full((), value, np.float32) for value in (0.0, 1.0, math.inf))

_ELEMENTWISE: Mapping[str, tuple[int, np.ufunc]] = {
    "Add": (ADD, np.add), "Sub": (SUB, np.subtract), "Mul": (MUL, np.multiply), "Div": (DIV, np.true_divide),
    "Max": (MAX, np.maximum), "Min": (MIN, np.minimum), "Sqrt": (SQRT, np.sqrt), "Exp": (EXP, np.exp),
    "Log": (LOG, np.log), "Tanh": (TANH, np.tanh), "Equal": (EQUAL, np.equal), "Greater": (GREATER, np.greater),
    "LessOrEqual": (LESS_OR_EQUAL, np.less_equal), "And": (MUL, np.logical_and),
}  # fmt: skip
"""Operators that are one instruction, and what computes them where all operands are known."""
_REDUCTIONS: Mapping[str, tuple[int, Array]] = {
    "ReduceSum": (ADD, _ZERO),
    "ReduceMax": (MAX, -_INFINITE),
    "ReduceMin": (MIN, _INFINITE),
}
"""Operators that accumulate by an instruction, from a first value on."""


class NotOnTapeError(Exception):
    """A tape does not have an operator, or not for this use of it; onnxruntime may run it."""


class Tape:
    """An exported network, run by compiled code for whatever sizes its inputs have.

    What is equal along an axis of an input, as a stride of 0 says, is computed once. One run at a time: those of the
    same sizes work in the same memory.

    Args:
        path: the ONNX file.
        together: by the name of an axis, of what sizes are rounded up to multiples, by zeros: fewer tapes are made.

    Raises:
        ImportError: there is no package `onnx`.
        NotOnTapeError: operators of another meaning than a tape's.
    """

    def __init__(self, path: Path | str, together: Mapping[str, int] | None = None) -> None:
        inputs, self.outputs, self._weights, self._nodes = _read(path)
        self.inputs, multiples = list(inputs), together or {}
        self._multiples = [tuple([multiples.get(axis, 1) for axis in axes]) for axes in inputs.values()]
        self._plan, self._fitted = lru_cache(_PLANS)(self._planned), lru_cache(_FITTED)(self._fit)
        prepare()

    def run(self, feed: Mapping[str, Array32]) -> list[Array32]:
        """Outputs, in the order of `outputs`, of the inputs by name.

        Raises:
            NotOnTapeError: these sizes, or this network, cannot be put on a tape.
        """
        puts = [feed[name] for name in self.inputs]
        plan, padded, rooms = self._fitted(tuple([(put.shape, put.strides) for put in puts]))
        for room in padded:
            room[...] = 0.0
        for (room, which), put in zip(rooms, puts, strict=True):
            room[...] = put[which]
        _run(plan.arena, plan.tape)
        return [put.copy() for put in plan.outputs]

    def _fit(self, layouts: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]) -> _Fitted:
        """Where inputs of these shapes and strides go."""
        shapes = [shape for shape, _ in layouts]
        once = [tuple([step == 0 for step in strides]) for _, strides in layouts]
        whole = [_rounded(shape, multiples) for shape, multiples in zip(shapes, self._multiples, strict=True)]
        plan = self._plan(tuple(zip(whole, once, strict=True)))
        fitted = _Fitted(plan, [], [])
        for room, shape in zip(plan.inputs, shapes, strict=True):
            which = tuple([slice(min(sizes)) for sizes in zip(room.shape, shape, strict=True)])
            fitted.rooms.append((room[which], which))
            if room[which].shape != room.shape:
                fitted.padded.append(room)
        return fitted

    def _planned(self, inputs: tuple[tuple[tuple[int, ...], tuple[bool, ...]], ...]) -> _Plan:
        """The tape for inputs of these shapes, which are equal along these axes."""
        planner = _Planner(self._weights)
        for name, (shape, once) in zip(self.inputs, inputs, strict=True):
            planner.put(name, shape, once)
        for node in self._nodes:
            planner.add(node)
        return planner.plan(self.outputs)


class _Node(NamedTuple):
    """An operator of the graph."""

    operator: str
    operands: tuple[str, ...]
    """Names of values; empty: left out."""
    results: tuple[str, ...]
    given: dict[str, Any]
    """Attributes; of a tensor, its numbers, of a data type, NumPy's."""


def _read(path: Path | str) -> tuple[dict[str, list[str]], list[str], dict[str, Array], list[_Node]]:
    """Inputs with the names of their axes, names of outputs, weights and operators of an ONNX file.

    Raises:
        NotOnTapeError: operators of another meaning than those here.
    """
    import onnx  # here, as it is needed for nothing else: who has no tapes needs none

    def value(attribute: onnx.AttributeProto) -> Any:
        given = onnx.helper.get_attribute_value(attribute)
        if attribute.type == onnx.AttributeProto.TENSOR:
            return onnx.numpy_helper.to_array(given)
        return onnx.helper.tensor_dtype_to_np_dtype(given) if attribute.name == "to" else given

    model = onnx.load(str(path))
    graph = model.graph
    for known in model.opset_import:
        if known.domain or known.version < _OPERATORS:
            raise NotOnTapeError(f"operators of {known.domain or 'ONNX'}, version {known.version}")
    weights = {put.name: onnx.numpy_helper.to_array(put).copy() for put in graph.initializer}
    nodes = [
        _Node(node.op_type, tuple(node.input), tuple(node.output), {of.name: value(of) for of in node.attribute})
        for node in graph.node
    ]
    axes = {put.name: [axis.dim_param for axis in put.type.tensor_type.shape.dim] for put in graph.input}
    return axes, [put.name for put in graph.output], weights, nodes


class _Plan(NamedTuple):
    """A tape for inputs of given sizes, and what it works on."""

    arena: Array32
    tape: Unsigned  # (instructions, _WIDTH); unsigned, so that loops over rows become vector instructions
    inputs: list[Array32]
    """Views of the arena, to be written before the tape runs."""
    outputs: list[Array32]
    """Views of the arena."""


_Index = tuple[slice, ...]


class _Fitted(NamedTuple):
    """A plan for inputs of given shapes and strides."""

    plan: _Plan
    padded: list[Array32]
    """Those of the plan's inputs that are to be zeroed first, as what is written is shorter."""
    rooms: list[tuple[Array32, _Index]]
    """Views of the plan's inputs, and what of each input is written there."""


class _Instruction(NamedTuple):
    """An instruction whose arrays have no place in the arena yet: they stand for their shapes and strides."""

    code: int
    out: Array32
    operands: tuple[Array, ...]


class _Planner:
    """Makes the tape of a graph for one combination of sizes.

    Values are NumPy arrays, so that NumPy does the arithmetic of views. Of those that the tape computes ("live"), only
    shape, strides and the owner of the memory mean anything; the others hold their numbers.
    """

    def __init__(self, weights: Mapping[str, Array]) -> None:
        self._values: dict[str, Array] = dict(weights)
        self._live: dict[int, Array] = {}
        """Owners of the memory that the tape writes, by their identity."""
        self._inputs: list[Array32] = []
        self._instructions: list[_Instruction] = []

    def put(self, name: str, shape: tuple[int, ...], once: tuple[bool, ...]) -> None:
        """The next input of the graph; what it is along axes that are `once` is kept once."""
        room = self._new(tuple([1 if equal else size for size, equal in zip(shape, once, strict=True)]))
        self._inputs.append(room)
        self._values[name] = np.broadcast_to(room, shape)

    def add(self, node: _Node) -> None:
        """The next operator of the graph.

        Raises:
            NotOnTapeError: there is no such instruction.
        """
        operands = [self._values[name] if name else None for name in node.operands]
        if len(node.results) != 1:
            raise NotOnTapeError(f"{node.operator} with {len(node.results)} results")
        self._values[node.results[0]] = self._result(node.operator, node.given, operands)

    def _result(self, operator: str, given: Mapping[str, Any], operands: list[Any]) -> Array:
        """The value of an operator: known, a view, or what instructions compute."""
        if operator in _ELEMENTWISE:
            code, function = _ELEMENTWISE[operator]
            if len(operands) != function.nin:
                raise NotOnTapeError(f"{operator} of {len(operands)}")
            return self._emit(code, *operands) if self._are_live(*operands) else np.asarray(function(*operands))
        if operator in _REDUCTIONS:
            if given.get("noop_with_empty_axes", 0):
                raise NotOnTapeError(f"{operator} that may do nothing")
            x, axes = operands[0], operands[1] if len(operands) > 1 else None
            which = range(x.ndim) if axes is None else axes.ravel().tolist()
            return self._reduced(operator, x, which, bool(given.get("keepdims", 1)))
        handler = getattr(self, f"_{operator.lower()}", None)
        if handler is None:
            raise NotOnTapeError(operator)
        return np.asarray(handler(given, *operands))

    # Views, and what depends on sizes alone: methods are named after ONNX's operators, `given` are the attributes.

    def _shape(self, given: Mapping[str, Any], x: Array) -> Array:
        return np.array(x.shape[given.get("start", 0) : given.get("end")], np.int64)

    def _unsqueeze(self, given: Mapping[str, Any], x: Array, axes: Array) -> Array:
        return np.expand_dims(x, tuple(axes.ravel().tolist()))

    def _squeeze(self, given: Mapping[str, Any], x: Array, axes: Array | None = None) -> Array:
        return np.squeeze(x, None if axes is None else tuple(axes.ravel().tolist()))

    def _expand(self, given: Mapping[str, Any], x: Array, shape: Array) -> Array:
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))

    def _transpose(self, given: Mapping[str, Any], x: Array) -> Array:
        return np.transpose(x, given.get("perm"))

    def _slice(
        self,
        given: Mapping[str, Any],
        x: Array,
        starts: Array,
        ends: Array,
        axes: Array | None = None,
        steps: Array | None = None,
    ) -> Array:
        which = [slice(None)] * x.ndim
        along = range(len(starts)) if axes is None else axes.tolist()
        apart = [1] * len(starts) if steps is None else steps.tolist()
        for start, end, axis, step in zip(starts.tolist(), ends.tolist(), along, apart, strict=True):
            if step < 1:
                raise NotOnTapeError("Slice that runs backwards")
            which[axis] = slice(start, end, step)
        return x[tuple(which)]

    def _gather(self, given: Mapping[str, Any], x: Array, index: Array) -> Array:
        if index.ndim or self._are_live(index):
            raise NotOnTapeError("Gather but of one known index")
        which: list[Any] = [slice(None)] * x.ndim
        which[given.get("axis", 0)] = int(index)
        return np.asarray(x[tuple(which)])

    def _reshape(self, given: Mapping[str, Any], x: Array, shape: Array) -> Array:
        sizes = shape.tolist()
        if not given.get("allowzero", 0):
            sizes = [size or x.shape[axis] for axis, size in enumerate(sizes)]
        if self._are_live(x) and not x.flags.c_contiguous:
            scattered, x = x, self._new(x.shape)
            self._write(COPY, x, scattered)
        return x.reshape(sizes)

    def _range(self, given: Mapping[str, Any], start: Array, limit: Array, delta: Array) -> Array:
        return np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)

    def _constantofshape(self, given: Mapping[str, Any], shape: Array) -> Array:
        return np.full(shape.tolist(), given["value"][0]) if "value" in given else np.zeros(shape.tolist(), np.float32)

    def _cast(self, given: Mapping[str, Any], x: Array) -> Array:
        if not self._are_live(x):
            return x.astype(given["to"])
        if given["to"] != np.float32:
            raise NotOnTapeError(f"Cast to {given['to']}")
        return x  # truth and indices are float32 here from the start

    # What instructions compute.

    def _concat(self, given: Mapping[str, Any], *parts: Array) -> Array:
        axis = given["axis"]
        if not self._are_live(*parts):
            return np.concatenate(parts, axis)
        ends = np.cumsum([part.shape[axis] for part in parts]).tolist()
        others = [at for at in range(parts[0].ndim) if at != axis % parts[0].ndim]
        shape, which = list(parts[0].shape), [slice(None)] * parts[0].ndim
        once = _once(parts, others)
        cut = [part[once] for part in parts]
        whole = list(cut[0].shape)
        shape[axis] = whole[axis] = ends[-1]
        out = self._new(tuple(whole))
        for part, begin, end in zip(cut, [0, *ends], ends, strict=False):
            which[axis] = slice(begin, end)
            self._write(COPY, out[tuple(which)], part)
        return _wide(out, tuple(shape))

    def _where(self, given: Mapping[str, Any], condition: Array, x: Array, y: Array) -> Array:
        return self._emit(WHERE, condition, x, y)

    def _clip(self, given: Mapping[str, Any], x: Array, low: Array | None = None, high: Array | None = None) -> Array:
        bounded = x if low is None else self._emit(MAX, x, low)
        return bounded if high is None else self._emit(MIN, bounded, high)

    def _relu(self, given: Mapping[str, Any], x: Array) -> Array:
        return self._emit(MAX, x, _ZERO)

    def _neg(self, given: Mapping[str, Any], x: Array) -> Array:
        return self._emit(SUB, _ZERO, x)

    def _reciprocal(self, given: Mapping[str, Any], x: Array) -> Array:
        return self._emit(DIV, _ONE, x)

    def _pow(self, given: Mapping[str, Any], x: Array, exponent: Array) -> Array:
        if self._are_live(exponent) or not np.all(exponent == 2):
            raise NotOnTapeError("Pow but with exponent 2")
        return self._emit(MUL, x, x)

    def _softmax(self, given: Mapping[str, Any], x: Array) -> Array:
        axis = (given.get("axis", -1),)
        raised = self._emit(EXP, self._emit(SUB, x, self._reduced("ReduceMax", x, axis)))
        return self._emit(DIV, raised, self._reduced("ReduceSum", raised, axis))

    def _argmax(self, given: Mapping[str, Any], x: Array) -> Array:
        """The first of the largest, as float32."""
        if given.get("axis", 0) % x.ndim != x.ndim - 1 or given.get("select_last_index", 0):
            raise NotOnTapeError("ArgMax but of the first along the last axis")
        largest = self._emit(EQUAL, x, self._reduced("ReduceMax", x, (-1,)))
        at = self._emit(WHERE, largest, np.arange(x.shape[-1]), _INFINITE)
        return self._reduced("ReduceMin", at, (-1,), bool(given.get("keepdims", 1)))

    def _scatterelements(self, given: Mapping[str, Any], x: Array, index: Array, new: Array) -> Array:
        last = given.get("axis", 0) % x.ndim == x.ndim - 1
        if not last or index.shape != (*x.shape[:-1], 1) or given.get("reduction", b"none") != b"none":
            raise NotOnTapeError("ScatterElements but of one element along the last axis")
        return self._emit(WHERE, self._emit(EQUAL, index, np.arange(x.shape[-1])), new, x)

    def _gemm(self, given: Mapping[str, Any], a: Array, b: Array, c: Array = _ZERO) -> Array:
        if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
            raise NotOnTapeError("Gemm with alpha or beta")
        return self._product(a.T if given.get("transA", 0) else a, b.T if given.get("transB", 0) else b, c)

    def _matmul(self, given: Mapping[str, Any], a: Array, b: Array) -> Array:
        if min(a.ndim, b.ndim) < 2:
            raise NotOnTapeError("MatMul of vectors")
        return self._product(a, b, _ZERO)

    def _product(self, a: Array, b: Array, start: Array) -> Array:
        """The sum of `start` and a @ b."""
        if not self._are_live(b):
            b = np.ascontiguousarray(b)  # weights: a row of the product reads rows of them
        outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = _wide(a, (*outer, *a.shape[-2:])), _wide(b, (*outer, *b.shape[-2:]))
        once = _once((a, b), range(len(outer)))
        shape = (*outer, a.shape[-2], b.shape[-1])
        a, b = a[once], b[once]
        out = self._new((*a.shape[:-1], b.shape[-1]))
        self._write(COPY, out, start)
        every = (*a.shape, b.shape[-1])  # ..., row, k, n
        self._write(MATMUL, _wide(out[..., None, :], every), a[..., None], b[..., None, :, :])
        return _wide(out, shape)

    def _reduced(self, operator: str, x: Array, axes: Sequence[int], keep: bool = True) -> Array:
        code, first = _REDUCTIONS[operator]
        gone = tuple([axis % x.ndim for axis in axes])
        shape = [1 if axis in gone else size for axis, size in enumerate(x.shape)]
        x = x[_once((x,), [axis for axis in range(x.ndim) if axis not in gone])]
        out = self._new(tuple([1 if axis in gone else size for axis, size in enumerate(x.shape)]))
        self._write(COPY, out, first)
        every = _wide(out, x.shape)
        self._write(code, every, every, x)
        whole = _wide(out, tuple(shape))
        return whole if keep else np.squeeze(whole, gone)

    def _emit(self, code: int, *operands: Array) -> Array:
        """A new array that an instruction computes."""
        shape = np.broadcast_shapes(*[operand.shape for operand in operands])
        every = [_wide(operand, shape) for operand in operands]
        once = _once(every, range(len(shape)))
        cut = [operand[once] for operand in every]
        out = self._new(cut[0].shape)
        self._write(code, out, *cut)
        return _wide(out, shape)

    def _write(self, code: int, out: Array, *operands: Array) -> None:
        """An instruction that computes what an array, or a view of one, holds."""
        floats = [x if self._are_live(x) else np.asarray(x, np.float32) for x in operands]
        alike = [_wide(x, out.shape) for x in floats]
        self._instructions.append(_Instruction(code, out, tuple(alike)))

    def _new(self, shape: tuple[int, ...]) -> Array32:
        """Memory that the tape will write."""
        made = np.empty(shape, np.float32)
        self._live[id(made)] = made
        return made

    def _are_live(self, *values: Array | None) -> bool:
        """Whether the tape computes any of these."""
        return any(x is not None and id(_owner(x)) in self._live for x in values)

    def plan(self, outputs: Sequence[str]) -> _Plan:
        """The tape, and its arena: known arrays in front, then the live ones, which share what memory is free.

        Raises:
            NotOnTapeError: an instruction of too many dimensions.
        """
        results = [self._values[name] for name in outputs]
        uses = [self._inputs, *([step.out, *step.operands] for step in self._instructions), results]
        place, size = self._places(uses)
        arena = np.zeros(size, np.float32)

        def placed(x: Array) -> Array32:
            return np.lib.stride_tricks.as_strided(arena[_offset(x, place) :], x.shape, x.strides)

        for key, (owner, _) in place.items():
            if key not in self._live:
                placed(owner)[...] = owner

        tape = np.array([_row(step, place) for step in self._instructions], np.uint64).reshape(-1, _WIDTH)
        return _Plan(arena, tape, [placed(x) for x in self._inputs], [placed(x) for x in results])

    def _places(self, uses: Sequence[Sequence[Array]]) -> tuple[_Places, int]:
        """Where every owner's memory begins in the arena, and the arena's size; `uses` follow each other."""
        owners = [[_owner(x) for x in arrays] for arrays in uses]
        last = {id(owner): when for when, of_one in enumerate(owners) for owner in of_one}
        place: _Places = {}
        begin = 0
        for owner in chain(*owners):
            if id(owner) not in self._live and id(owner) not in place:
                place[id(owner)] = owner, _address(owner) - begin
                begin += _aligned(owner.size)
        size = begin
        busy: list[tuple[int, int, int]] = []  # (begin, end, last use), in this order
        for when, of_one in enumerate(owners):
            new = [owner for owner in of_one if id(owner) not in place]
            if new:
                busy = [room for room in busy if room[2] >= when]
            for owner in new:
                if id(owner) in place:  # twice in one instruction
                    continue
                at, needed = begin, _aligned(owner.size)
                for taken, end, _ in busy:
                    if taken - at >= needed:
                        break
                    at = max(at, end)
                place[id(owner)] = owner, _address(owner) - at
                insort(busy, (at, at + needed, last[id(owner)]))
                size = max(size, at + needed)
        return place, size


_Places = dict[int, tuple[Array, int]]
"""Owners of memory, and how far the arena's numbers are from theirs, by the owner's identity."""


def _rounded(sizes: tuple[int, ...], multiples: tuple[int, ...]) -> tuple[int, ...]:
    """Each size up to the next multiple."""
    return tuple([-(-size // multiple) * multiple for size, multiple in zip(sizes, multiples, strict=True)])


def _wide(x: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast, which NumPy takes some microseconds for where there is nothing to do, too."""
    return x if x.shape == shape else np.broadcast_to(x, shape)


def _once(arrays: Sequence[Array], axes: Iterable[int]) -> _Index:
    """What of arrays of one shape, but for other axes than these, must be computed: one, where none of them changes."""
    which = [slice(None)] * arrays[0].ndim
    for axis in axes:
        if not any(x.strides[axis] for x in arrays):
            which[axis] = slice(1)
    return tuple(which)


def _aligned(size: int) -> int:
    return _rounded((max(1, size),), (_ALIGNED,))[0]


def _owner(x: Array) -> Array:
    """The array whose memory a view shows."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def _address(x: Array) -> int:
    """Where an array begins in memory, in numbers."""
    return int(x.__array_interface__["data"][0]) // x.itemsize


def _offset(x: Array, place: _Places) -> int:
    """Where a view begins in the arena."""
    return _address(x) - place[id(_owner(x))][1]


def _row(step: _Instruction, place: _Places) -> list[int]:
    """An instruction as it stands on the tape: dimensions are merged where they can be, but MATMUL's last, k and n.

    Raises:
        NotOnTapeError: too many dimensions.
    """
    arrays = (step.out, *step.operands)
    sizes = list(step.out.shape)
    strides = [[stride // x.itemsize for stride in x.strides] for x in arrays]
    free = len(sizes) - (2 if step.code == MATMUL else 0)
    for axis in range(free - 1, -1, -1):
        inner = axis + 1
        behind = inner < free and all(steps[axis] == steps[inner] * sizes[inner] for steps in strides)
        if behind:
            sizes[inner] *= sizes[axis]
        if behind or sizes[axis] == 1:
            free -= 1
            for of_axis in (sizes, *strides):
                del of_axis[axis]
    missing = _DIMS - len(sizes)
    if missing < 0:
        raise NotOnTapeError(f"an instruction of {len(sizes)} dimensions")
    row = [step.code, *[1] * missing, *sizes]
    for x, steps in zip(arrays, strides, strict=True):
        row += [_offset(x, place), *[0] * missing, *steps]
    return row + [0] * (_WIDTH - len(row))


@compiled
def _run(arena: Array32, tape: Unsigned) -> None:
    """Carry out a tape."""
    for t in range(len(tape)):
        at = tape[t]
        for i in range(at[1]):
            for j in range(at[2]):
                o = at[_OUT] + i * at[_OUT + 1] + j * at[_OUT + 2]
                a = at[_A] + i * at[_A + 1] + j * at[_A + 2]
                b = at[_B] + i * at[_B + 1] + j * at[_B + 2]
                c = at[_C] + i * at[_C + 1] + j * at[_C + 2]
                if at[0] == MATMUL:
                    _add_product(arena, at[3], at[4], o, at[_OUT + 4], a, at[_A + 3], b, at[_B + 3], at[_B + 4])
                    continue
                for _ in range(at[3]):
                    _compute_row(at[0], arena, at[4], o, at[_OUT + 4], a, at[_A + 4], b, at[_B + 4], c, at[_C + 4])
                    o, a, b, c = o + at[_OUT + 3], a + at[_A + 3], b + at[_B + 3], c + at[_C + 3]


@compiled
def _add_product(
    x: Array32, inner: Number, n: Number,
    o: Number, so: Number, a: Number, sa: Number, b: Number, sk: Number, sb: Number,
) -> None:  # fmt: skip
    """out[n] += sum_k a[k] b[k, n], of arrays at these offsets of the arena `x`; `sk` and `sb` are the strides of b."""
    if n < _FEW or so != 1 or sb != 1:
        for i in range(n):
            total = x[o + i * so]
            for k in range(inner):
                total += x[a + k * sa] * x[b + k * sk + i * sb]
            x[o + i * so] = total
        return
    out = x[o : o + n]
    for _ in range(inner // _FOUR):  # at once, so that a sum is read and written less often
        p, q, r, s = x[a], x[a + sa], x[a + sa + sa], x[a + sa + sa + sa]
        b_q, b_r, b_s = b + sk, b + sk + sk, b + sk + sk + sk
        row_p, row_q, row_r, row_s = x[b : b + n], x[b_q : b_q + n], x[b_r : b_r + n], x[b_s : b_s + n]
        for i in range(n):
            out[i] += (p * row_p[i] + q * row_q[i]) + (r * row_r[i] + s * row_s[i])
        a, b = a + _FOUR * sa, b + _FOUR * sk
    for _ in range(inner % _FOUR):
        p, row_p = x[a], x[b : b + n]
        for i in range(n):
            out[i] += p * row_p[i]
        a, b = a + sa, b + sk


@compiled
def _compute_row(
    code: Number, x: Array32, n: Number,
    o: Number, so: Number, a: Number, sa: Number, b: Number, sb: Number, c: Number, sc: Number,
) -> None:  # fmt: skip
    """The last dimension of an instruction: n numbers at these offsets of the arena `x`, with these strides."""
    if code == MUL:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] * x[b + i * sb]
    elif code == ADD:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] + x[b + i * sb]
    elif code == COPY:
        for i in range(n):
            x[o + i * so] = x[a + i * sa]
    elif code == SUB:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] - x[b + i * sb]
    elif code == MAX:
        for i in range(n):
            p, q = x[a + i * sa], x[b + i * sb]
            x[o + i * so] = p if p >= q or p != p else q  # what is not a number stays so
    elif code == MIN:
        for i in range(n):
            p, q = x[a + i * sa], x[b + i * sb]
            x[o + i * so] = p if p <= q or p != p else q
    elif code == DIV:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] / x[b + i * sb]
    elif code == EQUAL:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] == x[b + i * sb]
    elif code == GREATER:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] > x[b + i * sb]
    elif code == LESS_OR_EQUAL:
        for i in range(n):
            x[o + i * so] = x[a + i * sa] <= x[b + i * sb]
    elif code == WHERE:
        for i in range(n):
            x[o + i * so] = x[b + i * sb] if x[a + i * sa] != 0.0 else x[c + i * sc]
    elif code == TANH:
        for i in range(n):
            x[o + i * so] = math.tanh(x[a + i * sa])
    elif code == SQRT:
        for i in range(n):
            x[o + i * so] = math.sqrt(x[a + i * sa])
    elif code == EXP:
        for i in range(n):
            x[o + i * so] = math.exp(x[a + i * sa])
    elif code == LOG:
        for i in range(n):
            x[o + i * so] = math.log(x[a + i * sa])


def prepare() -> None:
    """Compile now, or load what is compiled: the first tick must not wait for it."""
    with compiling():
        _run(np.zeros(0, np.float32), np.zeros((0, _WIDTH), np.uint64))
