"""Simulated drones, and the closed loop offline: the same core classes as in flight, without ROS."""
