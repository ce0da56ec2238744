"""The safety filter of the flying drones, over all agents of all worlds at once, so that a policy can learn with it.

Every agent keeps distance R from every other by its half of the barrier (lgtc_core.flight.barrier), and stays inside
the arena; what it asks for is replaced by the closest velocity that does. Conditions and solver are the ones flown, in
two dimensions; positions are exact here, so R is the distance itself.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lgtc_core.compiled import compiled
from lgtc_core.flight.barrier import Constraints, write_pair, write_walls
from lgtc_core.flight.guarantee import SHARED
from lgtc_core.flight.safety_filter import filter_batch

Array = npt.NDArray[np.float64]

_SHARE = float(SHARED)


def safe_action(
    p: Tensor, action: Tensor, speed: Tensor, alive: Tensor, radius: float, gain_per_s: float
) -> tuple[Tensor, Tensor]:
    """Actions that keep everybody apart.

    Args:
        p: (W, N, 2) positions, normalised.
        action: (W, N, 2) velocities asked for, as shares of the speed; longer than 1 is shortened.
        speed: (W, 1, 1) largest speeds [normalised / s], above 0.
        alive: (W, N); who is lost is on the ground, in nobody's way, and asked for nothing.
        radius: R, normalised.
        gain_per_s: alpha [1/s].

    Returns:
        (safe actions (W, N, 2), how much each was corrected (W, N) as a share of the speed)
    """
    w, n, _ = p.shape
    asked = action / action.norm(dim=-1, keepdim=True).clamp(min=1.0)
    speeds = speed.reshape(w, 1).expand(w, n).double().cpu().numpy()
    k = n - 1 + 4
    rows = Constraints(np.zeros((w, n, k, 2)), *(np.full((w, n, k), -np.inf) for _ in range(3)))
    _write_team(rows, p.double().cpu().numpy(), alive.cpu().numpy(), speeds, float(radius), float(gain_per_s))
    wanted = (asked * speed).double().cpu().numpy()
    safe = filter_batch(wanted, rows, speeds).velocity_mps / speeds[..., None]
    result = torch.where(alive[..., None], torch.from_numpy(safe).to(action), asked)
    return result, (result - asked).norm(dim=-1)


@compiled
def _write_team(
    into: Constraints, p: Array, alive: npt.NDArray[np.bool_], speeds: Array, radius: float, gain_per_s: float
) -> None:
    """Conditions of every living agent: the other living ones, then four walls at -1 and 1."""
    still, box = np.zeros(2), np.ones(2)
    for world in range(p.shape[0]):
        for i in range(p.shape[1]):
            if not alive[world, i]:
                continue
            own = Constraints(into.A[world, i], into.b[world, i], into.floor[world, i], into.h[world, i])
            speed, row = speeds[world, i], 0
            for j in range(p.shape[1]):
                if j != i and alive[world, j]:
                    write_pair(own, row, p[world, i], p[world, j], still, radius, _SHARE, 1.0, gain_per_s, 0.0, speed)
                    row += 1
            write_walls(own, p.shape[1] - 1, p[world, i], -box, box, still, gain_per_s, speed * box)
