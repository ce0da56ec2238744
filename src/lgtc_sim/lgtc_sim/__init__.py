"""Embedded simulator with the topics and services of real drones, and the same loop offline, without ROS."""
