"""Embedded simulator with the topics and services of real drones, and the same closed loop offline, without ROS."""
