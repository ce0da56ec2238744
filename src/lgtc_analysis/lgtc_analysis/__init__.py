"""What a flight was like: record it, read it back, measure it, report it. Without ROS."""
