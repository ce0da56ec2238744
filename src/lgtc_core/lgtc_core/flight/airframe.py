"""What flight asks of a vehicle type. The fleet's drone types satisfy it."""

from __future__ import annotations

from typing import Protocol


class Airframe(Protocol):
    """Limits of one vehicle."""

    @property
    def max_speed_mps(self) -> float:
        """Largest speed that it is commanded [m/s]."""

    @property
    def max_acceleration_mps2(self) -> float:
        """Largest acceleration that it can follow [m/s^2]."""

    @property
    def climb_speed_mps(self) -> float:
        """Largest vertical speed [m/s]."""

    @property
    def safety_distance_m(self) -> float:
        """Distance between centres that is never undercut at one height [m]."""

    @property
    def downwash_m(self) -> float:
        """The same, straight above or below: the airflow of the upper drone disturbs the lower one [m]."""
