"""The closed loop in parts, shared by ROS nodes and offline simulator: what a drone decides, carries and flies."""
