"""Whether torch.compile pays for a training: updates of one experiment as they are, and with both networks compiled.

    setup/run python bench/compile.py [--config config/training/lgtc.yaml] [--updates 6]

Both begin at the same seed, in turns in one process, one thread. The first update is told apart: with torch.compile it
holds the compilation, which the others must win back.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from lgtc_core import schema
from lgtc_training.configuration import ExperimentConfig
from lgtc_training.train import Trainer


def main() -> int:
    """Prints seconds per update of both, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--config", type=Path, default=Path("config/training/lgtc.yaml"))
    parser.add_argument("--updates", type=int, default=6)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = schema.load(ExperimentConfig, arguments.config)
    torch._dynamo.config.cache_size_limit = 64  # forms of input differ with the groups' teams and places
    with tempfile.TemporaryDirectory() as folder:
        trainers = {way: Trainer(config, Path(folder) / way) for way in ("as it is", "compiled")}
        learner = trainers["compiled"].learner
        for network in (learner.policy, learner.value):
            network.forward = torch.compile(network.forward)  # type: ignore[method-assign]
        taken: dict[str, list[float]] = {way: [] for way in trainers}
        for number in range(arguments.updates):
            for way, trainer in trainers.items():
                begun_s = time.process_time()
                trainer.iterate()
                taken[way].append(time.process_time() - begun_s)
            print(f"{number + 1} of {arguments.updates} updates", file=sys.stderr)
    print(f"{'processor time [s]':<20} first update  median of the others")
    medians = {way: sorted(seconds[1:])[len(seconds[1:]) // 2] for way, seconds in taken.items()}
    for way, seconds in taken.items():
        print(f"{way:<20} {seconds[0]:>12.1f} {medians[way]:>21.1f}")
    print(f"compiled / as it is, medians: {medians['compiled'] / medians['as it is']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
