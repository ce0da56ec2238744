"""Several processes, on one host or many, that train one network together: torchrun -m lgtc_training.train CONFIG.

Every process flies its share of the worlds. What the update needs of all of them is summed:

    counts of samples, moments of advantages and targets     once per rollout
    sum over samples of the gradient / samples of all         once per optimiser step

so that every process takes the step that one process with all the worlds would take, and all keep equal weights.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed, nn


class Processes:
    """The processes of one training run; alone, nothing is exchanged.

    Args:
        rank: number of this process. size: how many there are.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @staticmethod
    def join(device: torch.device) -> Processes:
        """What torchrun says in the environment; without it, alone. gloo on processors, NCCL on GPUs."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return Processes()
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return Processes(distributed.get_rank(), size)

    def leave(self) -> None:
        """End the exchange."""
        if self.size > 1:
            distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """The one that evaluates and writes."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """`values`, summed over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def agree(self, values: Tensor) -> Tensor:
        """`values` of the first process, in place."""
        if self.size > 1:
            distributed.broadcast(values, 0)
        return values

    def gather(self, values: Tensor) -> list[Tensor]:
        """`values` of every process, in the order of ranks; equal shapes everywhere."""
        if self.size == 1:
            return [values]
        parts = [torch.empty_like(values) for _ in range(self.size)]
        distributed.all_gather(parts, values)
        return parts

    def sum_gradients(self, parameters: list[nn.Parameter], extra: Tensor) -> Tensor:
        """Sum the gradients of all processes in place, in one exchange; so is `extra` (E,), which is returned."""
        if self.size == 1:
            return extra
        # A network that takes no part has no gradient, which is not the same to Adam as a gradient of zeros.
        here = torch.tensor([float(p.grad is not None) for p in parameters], device=extra.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self.sum(torch.cat([extra, here, *(gradient.flatten() for gradient in gradients)]))
        extra, anywhere, *summed = flat.split([len(extra), len(here), *(p.numel() for p in parameters)])
        for parameter, gradient, touched in zip(parameters, summed, anywhere.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter).clone() if touched else None
        return extra
