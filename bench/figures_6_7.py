"""Figures 6 and 7 of the paper from a bag: positions and battery over time, and the value network's state per drone.

    setup/run lgtc sim battery_handover --run-dir runs/handover
    setup/run python bench/figures_6_7.py runs/handover/bag --output runs/handover

Figure 6: where every drone was, and its battery. Figure 7: the liquid state of the *value* network, projected on the
unit vector (1 / F sum_q x_q). The value network does not fly; it is run here over what the bag says that every drone
knew: own position and supply, the demand, and the value network's messages of the neighbours within C, one tick old. A
drone that is not on mission is silent and forgets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import onnxruntime as ort

mpl.use("Agg")
import matplotlib.pyplot as plt

from lgtc_analysis.bag import read_flight
from lgtc_analysis.flight import Bools, Flight, Floats
from lgtc_analysis.metrics import liquid_projection
from lgtc_analysis.timeline import held, held_rows, ticks, timeline
from lgtc_bringup import inputs
from lgtc_core.flight.phases import VehiclePhase
from lgtc_core.mind import observation as layout
from lgtc_core.mind.card import ModelCard, load_card


def value_states(flight: Flight, model_dir: Path, card: ModelCard, times: Floats) -> tuple[Floats, Bools]:
    """Recurrent states of the value network (T, N, H) at `times`, and who was on mission (T, N)."""
    session = ort.InferenceSession(str(model_dir / "value.onnx"), providers=["CPUExecutionProvider"])
    wanted = {put.name for put in session.get_inputs()}
    widths = {put.name: put.shape[-1] for put in session.get_inputs()}  # its own: other messages than the policy's
    team, arena, n, r = timeline(flight, times), flight.team.arena, len(flight.names), card.resource_kinds
    p = np.nan_to_num(arena.to_normalised(team.position_m[..., :2]))
    mission = (times >= flight.active_s[0]) & (times <= flight.active_s[1])
    flying = np.isin(team.phase, (VehiclePhase.HOLDING, VehiclePhase.FLYING)) & mission[:, None]
    supply = np.zeros((len(times), n, r))
    for i, drone in enumerate(flight.drones.values()):
        carried = np.nan_to_num(held_rows(drone.resources.time_s, drone.resources.supply, times))
        supply[:, i, : carried.shape[1]] = carried
    demand, row = flight.demand, np.clip(held(flight.demand.time_s, times), 0, None)

    def padded(values: Floats) -> Floats:
        return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, r - values.shape[-1])])

    state = np.zeros((n, widths["state"]), np.float32)
    message = np.zeros((n, widths["neighbours"]), np.float32)
    sent = np.zeros(n, bool)
    states = np.zeros((len(times), *state.shape))
    others = np.array([[j for j in range(n) if j != i] for i in range(n)])
    for t in range(len(times)):
        k = row[t]
        d = np.nan_to_num(arena.to_normalised(demand.position_m[k]))
        places = layout.consumers(
            d, padded(demand.demanded[k]), padded(demand.remaining[k]), padded(demand.depletion[k])
        )
        heard = p[max(0, t - 1)][others]
        age = np.ones((n, n - 1))
        usable = layout.usable(p[t], heard, age, card.communication_radius) & sent[others]
        seen = layout.Observation(
            own=layout.own(p[t], supply[t]),
            consumers=np.broadcast_to(places, (n, *places.shape)),
            consumer_mask=np.broadcast_to(demand.exists[k], (n, len(demand.names))),
            neighbours=message[others] * usable[..., None],
            neighbours_seen=layout.seen(p[t], heard, age) * usable[..., None],
            neighbour_mask=usable,
            state=state,
        )
        feed = {
            name: np.ascontiguousarray(value, np.float32) for name, value in seen._asdict().items() if name in wanted
        }
        _, message, state = session.run(list(layout.OUTPUTS_VALUE), feed)
        sent = flying[t]
        state = state * flying[t][:, None].astype(np.float32)
        states[t] = state
    return states, flying


def figure_6(flight: Flight, times: Floats, path: Path) -> None:
    """Positions and battery over time."""
    team = timeline(flight, times)
    figure, axes = plt.subplots(3, 1, figsize=(8, 6), sharex=True)
    for i, (name, drone) in enumerate(flight.drones.items()):
        axes[0].plot(times, team.position_m[:, i, 0], label=name)
        axes[1].plot(times, team.position_m[:, i, 1])
        axes[2].plot(drone.resources.time_s, drone.resources.state_of_charge)
    for axis, label in zip(axes, ("x [m]", "y [m]", "state of charge"), strict=True):
        axis.set_ylabel(label)
    axes[0].legend(ncols=len(flight.names), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.25))
    axes[2].set_xlabel("mission time [s]")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def figure_7(flight: Flight, times: Floats, projection: Floats, flying: Bools, path: Path) -> None:
    """Projection of the value network's liquid state, with the place that each drone serves below it."""
    figure, axes = plt.subplots(2, 1, figsize=(8, 5), sharex=True)
    serving = flight.demand.serving[np.clip(held(flight.demand.time_s, times), 0, None)]
    for i, name in enumerate(flight.names):
        on = flying[:, i]
        axes[0].plot(times, np.where(on, projection[:, i], np.nan), label=name)
        place = np.where(serving[:, :, i].any(-1), serving[:, :, i].argmax(-1) + 0.08 * i, np.nan)
        axes[1].plot(times, place, lw=3)
    axes[0].set_ylabel("1 · x / F, value network")
    axes[0].legend(ncols=len(flight.names), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    axes[1].set_yticks(range(len(flight.demand.names)), flight.demand.names)
    axes[1].set_ylabel("serves")
    axes[1].set_xlabel("mission time [s]")
    figure.savefig(path, dpi=120, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    """Draw both, and say how far the state of who changed its place moved."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--model", default=inputs.MODEL, help="the model that flew")
    parser.add_argument("--output", type=Path, default=Path())
    arguments = parser.parse_args()
    flight, model_dir = read_flight(arguments.bag), inputs.model_path(arguments.model)
    card = load_card(model_dir)
    times = ticks(0.0, flight.active_s[1], card.tick_s)
    states, flying = value_states(flight, model_dir, card, times)
    projection = np.stack([liquid_projection(states[:, i], card.liquid_width) for i in range(len(flight.names))], -1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    figure_6(flight, times, arguments.output / "figure_6.png")
    figure_7(flight, times, projection, flying, arguments.output / "figure_7.png")
    third = len(times) // 3
    for i, name in enumerate(flight.names):
        early = projection[third : third + third // 2, i][flying[third : third + third // 2, i]]
        late = projection[-third // 2 :, i][flying[-third // 2 :, i]]
        then = f"{np.median(early):+.5f}" if len(early) else "not flying"
        now = f"{np.median(late):+.5f}" if len(late) else "landed"
        print(f"{name}: median projection {then} in the middle, {now} at the end")


if __name__ == "__main__":
    main()
