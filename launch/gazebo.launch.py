"""Gazebo Harmonic with the world of a scenario, the bridge to it, and the flight. gui:=false where there is no display."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from lgtc_bringup.inputs import ABOUT, LAUNCH_ARGUMENTS, choice_of_texts, prepare
from lgtc_sim.gazebo import BRIDGE_FILE, WORLD_FILE

ARGUMENTS = {name: text for name, text in LAUNCH_ARGUMENTS.items() if name not in ("backend", "speed", "vehicle")}


def _started(context):
    """World and bridge of the flight, then the flight itself, in one run folder."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS} | {"backend": "gazebo"}
    plan, _, _ = prepare(choice_of_texts(texts))
    plan.write()
    folder = plan.inputs.run_dir
    gui = LaunchConfiguration("gui").perform(context).lower() in ("true", "1")
    world = f"-r {'' if gui else '-s '}{folder / WORLD_FILE}"
    theirs = Path(get_package_share_directory("ros_gz_sim")) / "launch" / "gz_sim.launch.py"
    ours = Path(get_package_share_directory("lgtc_bringup")) / "launch" / "swarm.launch.py"
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(theirs)),
            launch_arguments={"gz_args": world, "on_exit_shutdown": "true"}.items(),
        ),
        Node(
            package="ros_gz_bridge",
            executable="parameter_bridge",
            name="bridge",
            namespace="gazebo",
            parameters=[{"config_file": str(folder / BRIDGE_FILE)}],
        ),
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(ours)),
            launch_arguments=(texts | {"run_dir": str(folder)}).items(),
        ),
    ]


def generate_launch_description():
    """Arguments as `lgtc sim --backend gazebo` has them, and `gui`."""
    arguments = [DeclareLaunchArgument(name, default_value=text, description=ABOUT[name]) for name, text in ARGUMENTS.items()]
    gui = DeclareLaunchArgument("gui", default_value="true", description="false: no window, no display needed")
    return LaunchDescription([*arguments, gui, OpaqueFunction(function=_started)])
