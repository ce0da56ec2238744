"""The closed loop of the swarm in plain Python: the world's rules, the drone's mind, its flight. No ROS, no torch."""
