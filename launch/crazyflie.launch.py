"""crazyswarm2 with files made from the fleet, and the flight: real drones (server:=cpp, cflib) or simulated (sim)."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from lgtc_bringup.crazyswarm import NAMESPACE, parameters
from lgtc_bringup.inputs import ABOUT, choice_of_texts, prepare
from lgtc_bringup.inputs import LAUNCH_ARGUMENTS_ELSEWHERE as ARGUMENTS
from lgtc_bringup.preflight import refuse
from lgtc_core.fleet.fleet import load_fleet

SERVERS = {"cpp": "crazyflie", "cflib": "crazyflie_server_py", "sim": "crazyflie_sim"}


def started(context):
    """Motion capture, server and flight. Nothing starts if the files do not fit."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    server = LaunchConfiguration("server").perform(context)
    texts["backend"] = "crazyswarm2-sim" if server == "sim" else "crazyflie"
    plan, team, _ = prepare(choice_of_texts(texts))
    refuse(plan, team)
    texts["run_dir"] = str(plan.inputs.run_dir)
    of_server, of_capture = parameters(load_fleet(plan.inputs.fleet_file), team.names)
    ours = Path(get_package_share_directory("lgtc_bringup")) / "launch" / "swarm.launch.py"
    capture = Node(
        package="motion_capture_tracking",
        executable="motion_capture_tracking_node",
        name="motion_capture_tracking",
        namespace=NAMESPACE,
        parameters=[of_capture],
    )
    theirs = Node(
        package=SERVERS[server],
        executable="crazyflie_server",
        name="crazyflie_server",
        namespace=NAMESPACE,
        parameters=[of_server],
    )
    flight = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(ours)), launch_arguments=texts.items())
    watched = server != "sim" and LaunchConfiguration("mocap").perform(context).lower() == "true"
    return [*([capture] if watched else []), theirs, flight]


def generate_launch_description():
    """Arguments as `lgtc sim --backend crazyflie` has them, and which server."""
    arguments = [DeclareLaunchArgument(n, default_value=text, description=ABOUT[n]) for n, text in ARGUMENTS.items()]
    server = DeclareLaunchArgument(
        "server", default_value="cpp", choices=list(SERVERS), description="which server flies"
    )
    mocap = DeclareLaunchArgument("mocap", default_value="true", description="false: positions come from elsewhere")
    return LaunchDescription([*arguments, server, mocap, OpaqueFunction(function=started)])
