"""Thin ROS 2 shells around lgtc_core: policy, safety filter, resource monitor, demand server, supervisor, vehicle adapter, recorder."""
