# Source this in bash to use the workspace with the ROS 2 wheels of .venv:   . setup/env.sh
# What is particular to the wheels stands here and in setup/ only. On a machine with ROS 2 from apt, source
# /opt/ros/jazzy/setup.bash and install/setup.bash instead.
_lgtc_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

export VIRTUAL_ENV=$_lgtc_root/.venv
case ":$PATH:" in
  *":$VIRTUAL_ENV/bin:"*) ;;
  *) export PATH=$VIRTUAL_ENV/bin:$PATH ;;
esac
# Not appended to what was there: a second ROS installation has other binaries.
export AMENT_PREFIX_PATH=$VIRTUAL_ENV
export CMAKE_PREFIX_PATH=$VIRTUAL_ENV
export ROS_VERSION=2 ROS_DISTRO=jazzy ROS_PYTHON_VERSION=3
# Nothing leaves this machine unless asked to, and no killed process leaves a lock behind (docs/processes.md). Where it is
# asked to leave, UDP alone.
if [ -z "${ROS_AUTOMATIC_DISCOVERY_RANGE:-}" ]; then
  export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
  if [ -z "${FASTRTPS_DEFAULT_PROFILES_FILE:-}" ]; then  # else the user's own profile holds
    export ROS_AUTOMATIC_DISCOVERY_RANGE=SYSTEM_DEFAULT FASTRTPS_DEFAULT_PROFILES_FILE=$_lgtc_root/config/loopback.xml
  fi
fi
export FASTDDS_BUILTIN_TRANSPORTS=${FASTDDS_BUILTIN_TRANSPORTS:-UDPv4}

# ROS would write its log files into the home directory.
export ROS_LOG_DIR=${ROS_LOG_DIR:-$_lgtc_root/log/ros}

# setup/build sources this with --underlay: a build must not see what an older one left.
if [ "${1:-}" != --underlay ] && [ -f "$_lgtc_root/install/local_setup.bash" ]; then
  . "$_lgtc_root/install/local_setup.bash"
fi
unset _lgtc_root
