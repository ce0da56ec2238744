"""The flight: barrier, safety filter and its watchdogs, vehicle phases, setpoints, battery, mission."""
