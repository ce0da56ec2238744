"""A program of its own: what drone-models and drone-controllers say of given states of a Crazyflie.

    python published_crazyflie.py AIRFRAME STATES.npz SAID.npz

It runs apart from the tests, as both packages want to be loaded before SciPy.
"""

from __future__ import annotations

import sys

import numpy as np
from drone_controllers.core import parametrize as controller_of
from drone_controllers.mellinger import attitude2force_torque, force_torque2rotor_vel, state2attitude
from drone_models.core import parametrize as model_of
from drone_models.first_principles import dynamics


def main(airframe: str, states_file: str, said_file: str) -> None:
    """Accelerations without the rotors' inertia, and rotor speeds of the Mellinger controller at 500 Hz."""
    states = np.load(states_file)
    body = model_of(dynamics, drone_model=airframe)
    position = controller_of(state2attitude, drone_model=airframe)
    attitude = controller_of(attitude2force_torque, drone_model=airframe)
    motors = controller_of(force_torque2rotor_vel, drone_model=airframe)
    accelerations, speeds = [], []
    for i in range(len(states["p"])):
        p, v, q, w, rpm, wanted, memory = (states[key][i] for key in ("p", "v", "q", "w", "rpm", "wanted", "memory"))
        _, _, dv, dw, drpm = dynamics(p, q, v, w, wanted, rpm, **{**body.keywords, "prop_inertia": 0.0})
        accelerations.append(np.concatenate([dv, dw, drpm]))
        command = np.concatenate([states["setpoint"][i], np.zeros(4)])
        rpyt, _ = position(p, q, v, w, command, ctrl_errors=(memory[:3],), ctrl_freq=500)
        past = {"prev_ang_vel": memory[6:], "ctrl_errors": (memory[3:6],), "ctrl_freq": 500}
        speeds.append(motors(*attitude(p, q, v, w, rpyt, **past)[:2]))
    np.savez(said_file, accelerations=accelerations, rotor_speeds=speeds, prop_inertia=body.keywords["prop_inertia"])


if __name__ == "__main__":
    main(*sys.argv[1:])
