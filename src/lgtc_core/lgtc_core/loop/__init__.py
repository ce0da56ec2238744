"""The closed loop in parts, shared by the ROS nodes and the offline simulator: what a drone decides, carries and flies."""
