"""Gazebo Harmonic with a scenario's world, the bridge to it, and the flight; a window where there is a display."""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from lgtc_bringup.inputs import ABOUT, choice_of_texts, prepare
from lgtc_bringup.inputs import LAUNCH_ARGUMENTS_ELSEWHERE as ARGUMENTS
from lgtc_sim.gazebo import BRIDGE_FILE, NAMESPACE, WORLD_FILE


def started(context):
    """World, bridge and flight, all of one run folder."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS} | {"backend": "gazebo"}
    plan, _, _ = prepare(choice_of_texts(texts))
    plan.write()
    folder = plan.inputs.run_dir
    texts["run_dir"] = str(folder)
    window = "" if LaunchConfiguration("gui").perform(context).lower() == "true" else "-s "
    theirs = Path(get_package_share_directory("ros_gz_sim")) / "launch" / "gz_sim.launch.py"
    ours = Path(get_package_share_directory("lgtc_bringup")) / "launch" / "swarm.launch.py"
    gazebo = {"gz_args": f"-r {window}{folder / WORLD_FILE}", "on_exit_shutdown": "true"}
    bridge = Node(
        package="ros_gz_bridge",
        executable="parameter_bridge",
        name="bridge",
        namespace=NAMESPACE,
        parameters=[{"config_file": str(folder / BRIDGE_FILE)}],
    )
    return [
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(theirs)), launch_arguments=gazebo.items()),
        bridge,
        IncludeLaunchDescription(PythonLaunchDescriptionSource(str(ours)), launch_arguments=texts.items()),
    ]


def generate_launch_description():
    """Arguments as `lgtc sim --backend gazebo` has them, and whether there is a window."""
    arguments = [DeclareLaunchArgument(n, default_value=text, description=ABOUT[n]) for n, text in ARGUMENTS.items()]
    shown = "true" if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") else "false"
    gui = DeclareLaunchArgument("gui", default_value=shown, description="whether to open a window; needs a display")
    return LaunchDescription([*arguments, gui, OpaqueFunction(function=started)])
