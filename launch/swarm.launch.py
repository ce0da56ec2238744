"""Flies a scenario: executes the plan of lgtc_bringup, the same that `lgtc sim` runs. Ctrl-C lands all, then ends."""

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from lgtc_bringup.inputs import ABOUT, LAUNCH_ARGUMENTS, choice_of_texts, prepare
from lgtc_bringup.plan import RESTARTS, ROS_ARGUMENTS, OnFailure
from lgtc_bringup.preflight import refuse
from lgtc_bringup.runner import environment_of

ENDS_ALL = (OnFailure.LAND, OnFailure.STOP)


def processes(context):
    """The processes of the plan, as launch actions."""
    texts = {name: LaunchConfiguration(name).perform(context) for name in LAUNCH_ARGUMENTS}
    plan, team, _ = prepare(choice_of_texts(texts))
    refuse(plan, team)
    plan.write()
    return [
        Node(
            package=process.package,
            executable=process.executable,
            exec_name=process.name,
            arguments=list(process.arguments),
            ros_arguments=list(ROS_ARGUMENTS),
            parameters=[str(plan.params_file)],
            additional_env=environment_of(plan, os.environ),
            sigterm_timeout="30",  # the first signal lands the drones, which takes a while
            sigkill_timeout="10",
            respawn=process.on_failure is OnFailure.RESTART,
            respawn_delay=0.5,  # at the end of the mission all end: time to see that
            respawn_max_retries=RESTARTS,
            on_exit=Shutdown(reason=f"{process.name} ended") if process.on_failure in ENDS_ALL else None,
        )
        for process in plan.processes
    ]


def generate_launch_description():
    """Arguments as `lgtc sim` has them, then the plan."""
    arguments = [DeclareLaunchArgument(n, default_value=d, description=ABOUT[n]) for n, d in LAUNCH_ARGUMENTS.items()]
    return LaunchDescription([*arguments, OpaqueFunction(function=processes)])
