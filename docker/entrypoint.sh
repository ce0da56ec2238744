#!/usr/bin/env bash
# Runs its arguments with ROS 2 and the workspace in the environment. exec: signals reach the program itself.
set -e
. "$(dirname "${BASH_SOURCE[0]}")/display.sh"
. /opt/ros/jazzy/setup.bash
. /opt/lgtc/install/local_setup.bash
exec "$@"
