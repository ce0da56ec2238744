"""N Crazyflies as rigid bodies with four rotors, flown by the firmware's Mellinger controller.

Body (state p, v, attitude R, body rates w, rotor speeds W in rpm):

    m dv/dt = R e_z sum f_i - m g e_z + R D R' (v - u)            f_i = b1 W_i + b2 W_i^2
    J dw/dt = B [L f; L f; q] + I_r sum_i s_i (w x e_z W_i + e_z dW_i/dt) - w x J w       q_i = c1 W_i + c2 W_i^2
    dW/dt   = k1 (W_c - W) + k2 (W_c^2 - W^2) speeding up, k3, k4 slowing down

u is the downwash of the drones above, as a round turbulent jet that keeps the momentum of their thrust T (Pope,
Turbulent Flows, 5.1; half width r growing by .094 per metre, rho = 1.2 kg/m^3), its start from momentum theory:

    u(z, d) = -sqrt(2 ln2 T / (rho pi)) / r * exp(-ln2 (d / r)^2),      r = 2 sqrt(ln2) R_p + .094 z

A rotor cannot give more than its motor does at the cell's voltage: f_i <= sum_k a_k V^k, and f_max.

Controller (crazyflie-firmware, controller_mellinger.c, at 500 Hz), in the firmware's units: forces in N, moments in
counts of the motors' PWM. Its mass is not the drone's: the firmware's default stands for a drone without markers.

    F = m_c (a_set + g e_z) + kp e_p + kd e_v + ki int e_p,   thrust = 132000 F . R e_z,
    M = -kR e_R - kw w + ki_m int(-e_R) + kd_w d(-w)/dt

High-level commands take distance / climb speed, along the firmware's polynomial of degree 7:

    s(x) = 35 x^4 - 84 x^5 + 70 x^6 - 20 x^7

Parameters of the bodies were identified by Learning Systems and Robotics Lab, TU Munich (package drone-models 0.1.0,
data/params.toml), of the controller by the same (drone-controllers 0.1.0); tests hold this file against both packages
where they are installed. Two things differ on purpose: the sign of the rotors' gyroscopic moment about x follows
from the conservation of angular momentum, and a saturated motor lowers all four, as the firmware's
power_distribution_quadrotor.c does, instead of being clipped alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lgtc_sim.body import GRAVITY_MPS2, Array, Control, Drive, Flags, compiled

CONTROL_S = 0.002
"""Period of the firmware's controller: 500 Hz."""
BODY_S = 0.001
"""Integration step of the body."""
PWM_MAX = 65535.0
MASS_THRUST = 132000.0
MOMENT_PWM = 32000.0
RPM = 2.0 * math.pi / 60.0
AIR_KG_PER_M3 = 1.2
JET_SPREAD = 0.094
TILT_COSINE, TILT_S = 0.5, 1.0
"""A drone tilted by more than 60 degrees for so long has tumbled (firmware, supervisor.c; accelerometer at rest)."""
UPSIDE_DOWN_COSINE, UPSIDE_DOWN_S = -0.2, 0.1

KP, KD, KI = (0.4, 0.4, 1.25), (0.2, 0.2, 0.5), (0.05, 0.05, 0.05)
KI_RANGE = (2.0, 2.0, 0.4)
KR, KW, KI_M, KD_W = (70000.0, 70000.0, 60000.0), (20000.0, 20000.0, 12000.0), (0.0, 0.0, 500.0), (200.0, 200.0, 0.0)
KI_M_RANGE = (1.0, 1.0, 1500.0)
ROLL, PITCH, YAW = (-1.0, -1.0, 1.0, 1.0), (-1.0, 1.0, 1.0, -1.0), (-1.0, 1.0, -1.0, 1.0)
"""Which way each motor turns the body: B."""

_OFF, _DESCEND, _STREAM = int(Control.OFF), int(Control.DESCEND), int(Control.STREAM)


class Quadrotor(NamedTuple):
    """Identified parameters of one airframe; names as in the formulas above, SI units, rotor speeds in rpm."""

    mass_kg: float
    arm_m: float
    inertia_kgm2: tuple[float, float, float]
    thrust: tuple[float, float]  # b1, b2
    torque: tuple[float, float]  # c1, c2
    rotor: tuple[float, float, float, float]  # k1 .. k4
    drag: tuple[float, float, float]  # diagonal of D
    thrust_min_n: float
    thrust_max_n: float
    thrust_of_voltage: tuple[float, float, float, float]  # a0 .. a3
    rotor_inertia_kgm2: float
    rotor_radius_m: float
    controller_mass_kg: float


AIRFRAMES = {
    "cf2x_L250": Quadrotor(  # Crazyflie 2.x, legacy propellers, 250 mAh
        0.0319,
        0.03253,
        (16.8e-6, 16.8e-6, 29.8e-6),
        (-5.382196214637237e-7, 2.4582929831265485e-10),
        (1.410454111996297e-9, 1.4592584373980652e-12),
        (7.355623702172756, 0.0, 0.0, 0.00024443862952110715),
        (-0.01471782, -0.01471782, -0.01277641),
        0.012817578393224994,
        0.12,
        (-0.014830744918356092, 0.04724465241828281, -0.01847364358025878, 0.005960923942142),
        34.52e-9,
        23.55e-3,
        0.029,
    ),
    "cf2x_P250": Quadrotor(  # Crazyflie 2.1+, its propellers, 250 mAh
        0.0318,
        0.03253,
        (16.8e-6, 16.8e-6, 29.8e-6),
        (-3.6200226530383495e-7, 1.6060924304100328e-10),
        (-2.2665265829562245e-9, 1.1149485566919186e-12),
        (5.172596691828673, 8.14774234381285e-5, 0.0, 0.0002095253491455741),
        (-0.01351483, -0.01351483, -0.01677452),
        0.012817578393224994,
        0.12,
        (-0.02476537915958403, 0.06523793527519485, -0.026792504967750107, 0.006776789303971145),
        26.97e-9,
        23.4e-3,
        0.029,
    ),
    "cf21B_500": Quadrotor(  # Crazyflie 2.1 brushless, 500 mAh
        0.04338,
        0.035355,
        (25e-6, 28e-6, 49e-6),
        (-3.133427287299859e-7, 4.407354891648379e-10),
        (1.65886356219615e-9, 2.4693477924534137e-12),
        (13.996001897562685, 0.00011093207920685363, 5.933168530682111, 0.00031951312393561264),
        (-0.02149163, -0.02149163, -0.02359736),
        0.02136263065537499,
        0.2,
        (-0.014058926705279723, 0.04265273261724981, 0.0018327760144017432, 0.0020576974784587178),
        38.93e-9,
        27.5e-3,
        0.0393,
    ),
}
"""By the names that drone-models gives them."""


class Crazyflies:
    """N of one airframe.

    Args:
        position_m: where they stand (N, 3), frame "world" [m]; taken over.
        climb_mps: mean speed of a high-level command (N,).
        airframe: its parameters.
        estimate_sd_m: noise of the position that the controller is given; drawn anew every step.
        estimate_sd_mps: the same of its velocity.
        seed: of that noise.
    """

    def __init__(
        self,
        position_m: Array,
        climb_mps: Array,
        airframe: Quadrotor,
        estimate_sd_m: float = 0.0,
        estimate_sd_mps: float = 0.0,
        seed: int = 0,
    ) -> None:
        n = len(position_m)
        self.airframe = airframe
        self.position_m, self.velocity_mps = position_m, np.zeros((n, 3))
        self.attitude: Array = np.tile([0.0, 0.0, 0.0, 1.0], (n, 1))
        """Quaternions (N, 4), x y z w, body to world."""
        self.rates_radps = np.zeros((n, 3))
        """Body rates (N, 3)."""
        self.rotor_rpm = np.zeros((n, 4))
        self.load, self.tumbled = np.zeros(n), np.zeros(n, dtype=bool)
        self._memory = np.zeros((n, 9))  # integral of e_p, integral of -e_R, last body rates
        self._tilted_s = np.zeros(n)
        self._climb_mps = np.array(climb_mps, dtype=np.float64)
        self._noise_sd = np.array([estimate_sd_m] * 3 + [estimate_sd_mps] * 3)
        self._noise = np.zeros((n, 6))
        self._random = np.random.default_rng(seed)

    def step(self, drive: Drive, voltage_v: Array, dt_s: float) -> None:
        """See `Body.step`; `dt_s` must be a multiple of `CONTROL_S`."""
        if self._noise_sd.any():
            self._noise = self._random.standard_normal((len(self.load), 6)) * self._noise_sd
        _step_crazyflies(
            self.position_m,
            self.velocity_mps,
            self.attitude,
            self.rates_radps,
            self.rotor_rpm,
            self._memory,
            self.load,
            self.tumbled,
            self._tilted_s,
            drive.control,
            drive.levelled,
            drive.target_m,
            drive.feedforward_mps,
            drive.acceleration_mps2,
            drive.origin_m,
            drive.elapsed_s,
            self._climb_mps,
            self._noise,
            voltage_v,
            self.airframe,
            dt_s,
        )


@compiled
def rotation(q: Array, r: Array) -> None:
    """Write the rotation matrix (3, 3), body to world, of a unit quaternion x y z w to `r`."""
    x, y, z, w = q[0], q[1], q[2], q[3]
    r[0, 0], r[0, 1], r[0, 2] = 1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - z * w), 2.0 * (x * z + y * w)
    r[1, 0], r[1, 1], r[1, 2] = 2.0 * (x * y + z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - x * w)
    r[2, 0], r[2, 1], r[2, 2] = 2.0 * (x * z - y * w), 2.0 * (y * z + x * w), 1.0 - 2.0 * (x * x + y * y)


@compiled
def accelerations(
    v: Array, r: Array, w: Array, rpm: Array, rpm_wanted: Array, wind_z_mps: float, body: Quadrotor, out: Array
) -> float:
    """The body's equations for one drone: writes dv/dt, dw/dt (world, body) and dW/dt to `out` (10,).

    Args:
        v: velocity (3,), world [m/s].
        r: attitude (3, 3), body to world.
        w: body rates (3,) [rad/s].
        rpm: rotor speeds (4,).
        rpm_wanted: W_c (4,).
        wind_z_mps: vertical air speed u.
        body: parameters.
        out: result (10,): [m/s^2], [rad/s^2], [rpm/s].

    Returns:
        Total thrust [N].
    """
    b1, b2 = body.thrust
    c1, c2 = body.torque
    k1, k2, k3, k4 = body.rotor
    jx, jy, jz = body.inertia_kgm2
    force = roll = pitch = yaw = spin = spin_up = 0.0
    for i in range(4):
        speed, wanted = rpm[i], rpm_wanted[i]
        linear, square = wanted - speed, wanted * wanted - speed * speed
        rate = k1 * linear + k2 * square if wanted > speed else k3 * linear + k4 * square
        out[6 + i] = rate
        f = b1 * speed + b2 * speed * speed
        force += f
        roll += ROLL[i] * f
        pitch += PITCH[i] * f
        yaw += YAW[i] * (c1 * speed + c2 * speed * speed)
        spin += YAW[i] * speed
        spin_up += YAW[i] * rate
    momentum = body.rotor_inertia_kgm2 * RPM
    air_z = v[2] - wind_z_mps
    for k in range(3):
        out[k] = r[k, 2] * force / body.mass_kg
    for k in range(3):
        along = body.drag[k] * (r[0, k] * v[0] + r[1, k] * v[1] + r[2, k] * air_z) / body.mass_kg
        for m in range(3):
            out[m] += r[m, k] * along
    out[2] -= GRAVITY_MPS2
    out[3] = (body.arm_m * roll + momentum * spin * w[1] - (jz - jy) * w[1] * w[2]) / jx
    out[4] = (body.arm_m * pitch - momentum * spin * w[0] - (jx - jz) * w[0] * w[2]) / jy
    out[5] = (yaw + momentum * spin_up - (jy - jx) * w[0] * w[1]) / jz
    return force


@compiled
def mellinger(
    p: Array,
    v: Array,
    r: Array,
    w: Array,
    memory: Array,
    setpoint: Array,
    levelled: bool,
    body: Quadrotor,
    out: Array,
) -> None:
    """The firmware's controller for one drone, yaw 0: writes the motors' PWM (4,) before capping to `out`.

    Args:
        p: estimated position (3,), world.
        v: estimated velocity (3,), world.
        r: attitude (3, 3), body to world.
        w: body rates (3,) [rad/s].
        memory: integral of e_p, integral of -e_R, last body rates (9,); changed.
        setpoint: position, velocity, acceleration (9,), world.
        levelled: the supervisor has overridden the setpoint: horizontal position and velocity count for nothing.
        body: parameters.
        out: PWM of the four motors.
    """
    f = out  # its first three places serve for the force until the moments are known
    for k in range(3):
        error = setpoint[k] - p[k]
        memory[k] = min(max(memory[k] + error * CONTROL_S, -KI_RANGE[k]), KI_RANGE[k])
        f[k] = body.controller_mass_kg * setpoint[6 + k] + KP[k] * error + KD[k] * (setpoint[3 + k] - v[k])
        f[k] += KI[k] * memory[k]
    if levelled:
        f[0], f[1] = 0.0, 0.0
    f[2] += body.controller_mass_kg * GRAVITY_MPS2
    thrust = MASS_THRUST * (f[0] * r[0, 2] + f[1] * r[1, 2] + f[2] * r[2, 2])
    length = max(math.sqrt(f[0] * f[0] + f[1] * f[1] + f[2] * f[2]), 1e-9)
    z0, z1, z2 = f[0] / length, f[1] / length, f[2] / length
    across = max(math.hypot(z1, z2), 1e-9)  # y = z x e_x, x = y x z
    y0, y1, y2 = 0.0, z2 / across, -z1 / across
    x0, x1, x2 = y1 * z2 - y2 * z1, y2 * z0 - y0 * z2, y0 * z1 - y1 * z0
    # e_R = vee(R_d' R - R' R_d)
    e_x = (z0 * r[0, 1] + z1 * r[1, 1] + z2 * r[2, 1]) - (y0 * r[0, 2] + y1 * r[1, 2] + y2 * r[2, 2])
    e_y = (x0 * r[0, 2] + x1 * r[1, 2] + x2 * r[2, 2]) - (z0 * r[0, 0] + z1 * r[1, 0] + z2 * r[2, 0])
    e_z = (y0 * r[0, 0] + y1 * r[1, 0] + y2 * r[2, 0]) - (x0 * r[0, 1] + x1 * r[1, 1] + x2 * r[2, 1])
    e = (e_x, e_y, e_z)
    for k in range(3):
        memory[3 + k] = min(max(memory[3 + k] - e[k] * CONTROL_S, -KI_M_RANGE[k]), KI_M_RANGE[k])
        braking = -(w[k] - memory[6 + k]) / CONTROL_S
        memory[6 + k] = w[k]
        m = -KR[k] * e[k] - KW[k] * w[k] + KI_M[k] * memory[3 + k] + KD_W[k] * braking
        out[k] = min(max(m, -MOMENT_PWM), MOMENT_PWM)
    if thrust <= 0.0:
        out[:3] = 0.0
        memory[:6] = 0.0
    roll, pitch, yaw = 0.5 * out[0], 0.5 * out[1], out[2]
    for i in range(4):
        out[i] = thrust + roll * ROLL[i] + pitch * PITCH[i] + yaw * YAW[i]


@compiled
def rotor_speeds(pwm: Array, thrust_cap_n: float, body: Quadrotor, out: Array) -> None:
    """Rotor speeds (4,) that the motors are driven to [rpm]: capped as the firmware does, and by the cell."""
    excess = max(max(pwm[0], pwm[1]), max(pwm[2], pwm[3])) - PWM_MAX
    b1, b2 = body.thrust
    for i in range(4):
        counts = pwm[i] - excess if excess > 0.0 else pwm[i]
        f = max(counts / PWM_MAX * body.thrust_max_n, body.thrust_min_n)
        f = min(f, thrust_cap_n)
        out[i] = (-b1 + math.sqrt(b1 * b1 + 4.0 * b2 * f)) / (2.0 * b2)


@compiled
def thrust_cap_n(voltage_v: float, body: Quadrotor) -> float:
    """Largest thrust of one motor at the cell's voltage under load [N]."""
    a0, a1, a2, a3 = body.thrust_of_voltage
    return max(0.0, min(body.thrust_max_n, a0 + voltage_v * (a1 + voltage_v * (a2 + voltage_v * a3))))


@compiled
def downwash_mps(position_m: Array, thrust_n: Array, radius_m: float, out: Array) -> None:
    """Vertical air speed u at every drone (N,), made by those above it; thrust (N,) [N], rotor radius [m]."""
    ln2 = math.log(2.0)
    for i in range(len(position_m)):
        out[i] = 0.0
        for j in range(len(position_m)):
            z = position_m[j, 2] - position_m[i, 2]
            if z <= 2.0 * radius_m or thrust_n[j] <= 0.0:
                continue
            r = 2.0 * math.sqrt(ln2) * radius_m + JET_SPREAD * z
            d = math.hypot(position_m[j, 0] - position_m[i, 0], position_m[j, 1] - position_m[i, 1])
            if d < 4.0 * r:
                centre = math.sqrt(2.0 * ln2 * thrust_n[j] / (AIR_KG_PER_M3 * math.pi)) / r
                out[i] -= centre * math.exp(-ln2 * (d / r) ** 2)


@compiled
def reference(target_m: Array, origin_m: Array, elapsed_s: float, speed_mps: float, out: Array) -> None:
    """Setpoint (9,) of a high-level command after `elapsed_s`: the polynomial from origin to target."""
    out[:] = 0.0
    square_m2 = 0.0
    for k in range(3):
        square_m2 += (target_m[k] - origin_m[k]) ** 2
    distance_m = math.sqrt(square_m2)
    duration_s = max(distance_m / speed_mps, 0.1)
    x = min(elapsed_s / duration_s, 1.0)
    s = x**4 * (35.0 + x * (-84.0 + x * (70.0 - 20.0 * x)))
    ds = x**3 * (140.0 + x * (-420.0 + x * (420.0 - 140.0 * x))) / duration_s
    dds = x**2 * (420.0 + x * (-1680.0 + x * (2100.0 - 840.0 * x))) / duration_s**2
    for k in range(3):
        along_m = target_m[k] - origin_m[k]
        out[k], out[3 + k], out[6 + k] = origin_m[k] + s * along_m, ds * along_m, dds * along_m


@compiled
def _turn(q: Array, w: Array, dt_s: float) -> None:
    """Quaternion after `dt_s` with body rates `w`, in place: q exp(w dt / 2)."""
    angle = math.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2]) * dt_s
    scale = 0.5 * dt_s if angle < 1e-9 else math.sin(0.5 * angle) / angle * dt_s
    a, b, c, d = w[0] * scale, w[1] * scale, w[2] * scale, math.cos(0.5 * angle)
    x, y, z, u = q[0], q[1], q[2], q[3]
    q[0] = u * a + x * d + y * c - z * b
    q[1] = u * b - x * c + y * d + z * a
    q[2] = u * c + x * b - y * a + z * d
    q[3] = u * d - x * a - y * b - z * c
    _normalise(q)


@compiled
def _normalise(q: Array) -> None:
    length = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    for k in range(4):
        q[k] /= length


@compiled
def _step_crazyflies(
    position_m: Array,
    velocity_mps: Array,
    attitude: Array,
    rates_radps: Array,
    rotor_rpm: Array,
    memory: Array,
    load: Array,
    tumbled: Flags,
    tilted_s: Array,
    control: npt.NDArray[np.int64],
    levelled: Flags,
    target_m: Array,
    feedforward_mps: Array,
    acceleration_mps2: Array,
    origin_m: Array,
    elapsed_s: Array,
    climb_mps: Array,
    noise: Array,
    voltage_v: Array,
    body: Quadrotor,
    dt_s: float,
) -> None:
    """One step of all drones in place."""
    n = len(control)
    b1, b2 = body.thrust
    hover_n = body.mass_kg * GRAVITY_MPS2 / 4.0
    wind, thrust = np.empty(n), (b1 * rotor_rpm + b2 * rotor_rpm**2).sum(axis=1)
    downwash_mps(position_m, thrust, body.rotor_radius_m, wind)
    setpoint, pwm, wanted, out, r = np.zeros(9), np.zeros(4), np.zeros(4), np.zeros(10), np.zeros((3, 3))
    estimated_m, estimated_mps = np.zeros(3), np.zeros(3)
    for i in range(n):
        p, v, q, w, rpm = position_m[i], velocity_mps[i], attitude[i], rates_radps[i], rotor_rpm[i]
        cap_n = thrust_cap_n(voltage_v[i], body)
        power = 0.0
        for tick in range(round(dt_s / CONTROL_S)):
            rotation(q, r)
            if control[i] == _OFF:
                wanted[:] = 0.0
                memory[i] = 0.0
            else:
                if control[i] == _STREAM:
                    setpoint[:3], setpoint[3:6], setpoint[6:] = target_m[i], feedforward_mps[i], acceleration_mps2[i]
                else:
                    passed_s = elapsed_s[i] + tick * CONTROL_S
                    reference(target_m[i], origin_m[i], passed_s, climb_mps[i], setpoint)
                for k in range(3):
                    estimated_m[k], estimated_mps[k] = p[k] + noise[i, k], v[k] + noise[i, 3 + k]
                mellinger(estimated_m, estimated_mps, r, w, memory[i], setpoint, levelled[i], body, pwm)
                rotor_speeds(pwm, cap_n, body, wanted)
            for _ in range(round(CONTROL_S / BODY_S)):
                rotation(q, r)
                accelerations(v, r, w, rpm, wanted, wind[i], body, out)
                for k in range(4):
                    rpm[k] = max(0.0, rpm[k] + BODY_S * out[6 + k])
                for k in range(3):
                    v[k] += BODY_S * out[k]
                    w[k] += BODY_S * out[3 + k]
                    p[k] += BODY_S * v[k]
                _turn(q, w, BODY_S)
                if p[2] <= 0.0 and v[2] <= 0.0:  # the floor holds it
                    p[2] = 0.0
                    v[:], w[:] = 0.0, 0.0
                    q[0], q[1] = 0.0, 0.0
                    _normalise(q)
                    if control[i] == _DESCEND:
                        control[i] = _OFF
            for k in range(4):  # momentum theory: the power of a rotor grows as its thrust to 3/2
                f = max(0.0, b1 * rpm[k] + b2 * rpm[k] * rpm[k]) / hover_n
                power += 0.25 * f * math.sqrt(f)
        load[i] = power / round(dt_s / CONTROL_S)
        upright = 1.0 - 2.0 * (q[0] * q[0] + q[1] * q[1])
        tilted_s[i] = tilted_s[i] + dt_s if upright < TILT_COSINE else 0.0
        tumbled[i] = tilted_s[i] > TILT_S or (upright < UPSIDE_DOWN_COSINE and tilted_s[i] > UPSIDE_DOWN_S)
