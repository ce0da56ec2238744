"""Thin ROS 2 shells around lgtc_core, one file per node."""
