"""What kinds of node there are. Each is a module of this package with ``create(drone, lifeline) -> SwarmNode``."""

TEAM_KINDS = ("demand_server", "supervisor", "recorder", "simulator", "stand_in", "crazyswarm", "gazebo")
"""One each for the whole team, named by their kind."""
DRONE_KINDS = ("policy", "resource_monitor", "safety_filter", "vehicle")
"""One each per drone, named by their kind in the drone's namespace."""
