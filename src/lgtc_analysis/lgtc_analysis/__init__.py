"""Records flights and reads them back, without ROS: bags, and the report of a flight."""
