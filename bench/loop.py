"""How fast the closed loop is: whole flights offline, and the network's ticks beside bare onnxruntime.

    ./setup/run python bench/loop.py [--drones 5 16 32] [--rates 50 20] [--seconds 30] [--flights 5] [--record]

Offline flights are those of config/scenarios/many.yaml with another number of drones. Times are processor times of this
process (the machine may be busy), of several equal flights the median. The peer is bare onnxruntime in the same run:
how long it takes for the same network and as many drones at every tick of the flight.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from lgtc_analysis.recording import flight_info, open_bag
from lgtc_core.demand.book import DemandBook
from lgtc_core.fleet.team import Team, load_team
from lgtc_core.mind.card import POLICY_FILE
from lgtc_core.mind.policy import Features, Mind, PolicyModel
from lgtc_core.mind.tape import Tape
from lgtc_core.mind.taped import load_taped
from lgtc_sim.offline import fly

ROOT = Path(__file__).parents[1]


def median_us(call: Callable[[], object], repeats: int = 400) -> float:
    """Median processor time of a call [us]."""
    for _ in range(20):
        call()
    times = []
    for _ in range(repeats):
        begun = time.thread_time_ns()
        call()
        times.append(time.thread_time_ns() - begun)
    return float(np.median(times)) / 1e3


def bare(
    model_dir: Path, drones: int, consumers: int, neighbours: int
) -> tuple[Callable[[], object], dict[str, npt.NDArray[np.float32]]]:
    """The same network run by onnxruntime alone, and what it is fed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_dir / POLICY_FILE), options, providers=["CPUExecutionProvider"])
    sizes = {"agents": drones, "consumers": consumers, "neighbours": neighbours}
    rng = np.random.default_rng(0)
    feed = {}
    for put in session.get_inputs():
        shape = [sizes.get(size, size) for size in put.shape]
        feed[put.name] = np.ones(shape, np.float32) if "mask" in put.name else rng.random(shape, np.float32)
    return lambda: session.run(None, feed), feed


def policy_step(team: Team, model_dir: Path, neighbours: int) -> tuple[float, float]:
    """(our decision of one drone that hears `neighbours` others, bare onnxruntime on the same shapes) [us]."""
    model = PolicyModel(model_dir)
    mind = Mind(model, team.arena, "cf1", 1.0)
    view = DemandBook.for_team(team).view(0.0)
    here_m, supply, now_s = np.array(team.arena.centre_m), np.full(len(team.kinds), 0.5), 0.0
    mind.decide(now_s, here_m, supply, view)
    rng = np.random.default_rng(0)

    def step() -> None:
        nonlocal now_s
        now_s += 0.05
        mind.decide(now_s, here_m, supply, view)

    def hear() -> None:
        for j in range(neighbours):
            data = rng.random(model.card.message_width).astype(np.float32)
            at_m = here_m + rng.uniform(-0.3, 0.3, 2)
            mind.hear(Features(f"other{j}", 1, now_s + 0.001, at_m, model.card.contract, data))

    times = []
    for _ in range(400):
        hear()
        begun = time.thread_time_ns()
        step()
        times.append(time.thread_time_ns() - begun)
    slots = 1 + max(consumer.slot for consumer in view.consumers)
    return float(np.median(times[20:])) / 1e3, median_us(bare(model_dir, 1, slots, max(1, neighbours))[0])


def network(model_dir: Path, drones: int, heard: int) -> tuple[float, float]:
    """(a tape's run for so many drones that hear so many others, bare onnxruntime on the same shapes) [us]."""
    tape, (alone, feed) = Tape(model_dir / POLICY_FILE), bare(model_dir, drones, 4, heard)
    return median_us(lambda: tape.run(feed)), median_us(alone)


def offline(team: Team, model: PolicyModel, record: bool) -> tuple[float, float]:
    """(simulated time, processor time) of one flight [s]."""
    with tempfile.TemporaryDirectory() as folder:
        info = flight_info(team, model.directory, "offline", receive_clock="simulated", command="bench/loop.py")
        bag = open_bag(Path(folder) / "bag", ROOT / "src/lgtc_interfaces/msg", info, 0) if record else None
        begun = time.process_time()
        result = fly(team, model, recorder=bag)
        if bag is not None:
            bag.close()
        spent_s = time.process_time() - begun
    return float(result.time_s[-1]), spent_s


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drones", type=int, nargs="+", default=[5, 16, 32])
    parser.add_argument("--rates", type=float, nargs="+", default=[50.0, 20.0], help="commands per drone and second")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of the mission")
    parser.add_argument("--flights", type=int, default=5, help="of which the median is told")
    parser.add_argument("--record", action="store_true", help="write the bag as well")
    parser.add_argument("--model", type=Path, default=ROOT / "models/lgtc")
    arguments = parser.parse_args()
    files = ROOT / "config/fleet.yaml", ROOT / "config/scenarios/many.yaml"
    print("one policy step of a drone     ours us  bare onnxruntime us   ratio")
    for neighbours in (0, 4, 8):
        ours_us, bare_us = policy_step(load_team(*files, 5), arguments.model, neighbours)
        told(f"{neighbours} neighbours heard", ours_us, bare_us)
    print("the network of a whole team    tape us  bare onnxruntime us   ratio")
    for drones in (1, *arguments.drones):
        told(f"{drones} drones", *network(arguments.model, drones, min(drones, 8)))
    model = load_taped(arguments.model)  # for all flights
    fly(replace(load_team(*files, 2), duration_s=1.0), model)  # everything is compiled and loaded
    print("offline flights                  sim s    cpu s  x real time  cpu, in bare onnxruntime's ticks")
    for rate in arguments.rates:
        for drones in arguments.drones:
            team = load_team(*files, drones)
            team = replace(team, duration_s=arguments.seconds, command_period_s=1.0 / rate)
            for record in (False, True) if arguments.record else (False,):
                bare_us = median_us(bare(arguments.model, drones, 4, min(drones, 8))[0])
                flights = [offline(team, model, record) for _ in range(arguments.flights)]
                simulated_s, spent_s = np.median(flights, axis=0)
                ticks = spent_s / (bare_us * 1e-6 * arguments.seconds / 0.05)
                what = f"{drones} drones, {rate:g} commands/s" + (", bag" if record else "")
                print(
                    f"{what:<28} {simulated_s:>9.1f} {spent_s:>8.3f} {simulated_s / spent_s:>12.0f} {ticks:>33.2f}",
                    flush=True,
                )


def told(what: str, ours_us: float, bare_us: float) -> None:
    """A line of the first two tables."""
    print(f"{what:<28} {ours_us:>9.0f} {bare_us:>20.0f} {ours_us / bare_us:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
