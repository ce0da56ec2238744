"""The command tells what is wrong in one sentence with exit code 2, and shows what is right."""

import json
from pathlib import Path

import pytest
import yaml

from conftest import write_model
from lgtc_bringup import cli, inputs
from lgtc_bringup.cli import main
from lgtc_bringup.node_kinds import KINDS
from lgtc_core.demand.accounts import Supplied
from lgtc_core.demand.ledger import Ledger
from lgtc_core.errors import ConfigError

FLEET = str(inputs.fleet_path("fleet"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def changed(tmp_path: Path, original: Path, **changes: object) -> str:
    data = yaml.safe_load(original.read_text())
    path = tmp_path / original.name
    path.write_text(yaml.safe_dump({**data, **changes}))
    return str(path)


BAD = {
    "a fleet file that is not there": ["--fleet", "./none.yaml"],
    "a fleet that is not shipped": ["--fleet", "none"],
    "a scenario that is not shipped": ["--scenario", "none"],
    "a model that is not there": ["--model", "./none"],
    "a backend of a later time": ["--backend", "unreal"],
    "a speed of nothing": ["--speed", "0"],
    "a flight of no time": ["--duration", "0"],
}


@pytest.mark.parametrize("command", ["check", "plan", "sim"])
@pytest.mark.parametrize("what", BAD)
def test_wrong_input_is_one_sentence_with_got_and_expected_and_nothing_starts(command, what, model_dir, capfd):
    words = [command, "--model", str(model_dir), *BAD[what]]
    assert main(words) == cli.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("lgtc: ")
    assert err.count("\n") == 1
    assert "got " in err
    assert "expected " in err
    assert not (Path.cwd() / "runs").exists()


@pytest.mark.parametrize(
    ("what", "changes", "said"),
    [
        ("an unknown key", {"arenna": 1}, "arenna"),
        ("a kind twice", {"kinds": ["battery", "battery"]}, "kinds[1]"),
        ("no drones", {"drones": {}}, "drones"),
    ],
)
def test_a_wrong_fleet_file_is_named_with_its_key(tmp_path, model_dir, capfd, what, changes, said):
    path = changed(tmp_path, Path(FLEET), **changes)
    assert main(["check", "--fleet", path, "--model", str(model_dir)]) == cli.USAGE
    err = capfd.readouterr().err
    assert path in err
    assert said in err


@pytest.mark.parametrize(
    "contract", [{"resource_kinds": 1}, {"max_consumers": 2}, {"communication_radius": 0.5}, {"disc_radius": 0.4}]
)
def test_a_model_of_another_contract_does_not_fly(tmp_path, capfd, contract):
    model = write_model(tmp_path / "other", **contract)
    assert main(["check", "--model", str(model)]) == cli.USAGE
    assert "model other" in capfd.readouterr().err


@pytest.mark.parametrize("scenario", inputs.shipped("config/scenarios", ".yaml"))
def test_every_shipped_scenario_fits_the_shipped_fleet(scenario, model_dir, capfd):
    assert main(["check", scenario, "--model", str(model_dir)]) == cli.OK
    assert "all fits" in capfd.readouterr().out


def test_the_plan_as_json_is_the_whole_plan(model_dir, capfd):
    assert main(["plan", "--model", str(model_dir), "--speed", "3", "--json"]) == cli.OK
    data = json.loads(capfd.readouterr().out)
    nodes = {node for process in data["processes"] for node in process["nodes"]}
    assert nodes == set(data["parameters"])
    assert data["parameters"]["/simulator"]["speed"] == 3.0
    assert len(nodes) == 5 + 4 * len(data["drones"])


def test_the_plan_as_a_table_names_every_process_and_node(model_dir, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["plan", "--model", str(model_dir)]) == cli.OK
    out = capfd.readouterr().out
    for word in ("mind-cf1", "wings-cf5", "/cf3/policy", "/supervisor", "land", "stop", "tell"):
        assert word in out


def test_the_plan_as_a_tree_names_every_topic(model_dir, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "2000")
    assert main(["plan", "--model", str(model_dir), "--tree"]) == cli.OK
    out = capfd.readouterr().out
    for kind in (
        kind for kind in KINDS.values() if kind.kind not in ("crazyswarm", "gazebo")
    ):  # carries drones in other backends
        for name in kind.publishes:
            assert name.removeprefix("*/") in out


def test_planning_and_checking_write_nothing(model_dir, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    main(["plan", "--model", str(model_dir)])
    main(["check", "--model", str(model_dir), "--duration", "20"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_is_shown_with_its_scores_and_its_contract(model_dir, capfd):
    assert main(["model", "show", str(model_dir)]) == cli.OK
    out = capfd.readouterr().out
    for word in ("communication_radius", "scores.ratio", "0.9", "contract"):
        assert word in out
    assert main(["model", "show", str(model_dir), "--json"]) == cli.OK
    assert json.loads(capfd.readouterr().out)["scores"] == {"ratio": 0.9}


def test_a_model_whose_weights_were_changed_is_not_shown_as_if_it_were_whole(model_dir, capfd):
    (model_dir / "policy.onnx").write_bytes(b"other")
    assert main(["model", "show", str(model_dir)]) == cli.USAGE
    assert "SHA-256" in capfd.readouterr().err


def test_a_report_of_what_is_no_bag_is_refused(tmp_path, capfd):
    assert main(["report", str(tmp_path / "none")]) == cli.USAGE
    assert "got " in capfd.readouterr().err


def test_versions_are_those_of_the_packages(capfd):
    assert main(["version"]) == cli.OK
    assert "lgtc_core 0.1.0" in capfd.readouterr().out


def test_another_duration_leaves_out_what_would_come_later_and_keeps_the_rest(model_dir, tmp_path):
    choice = inputs.Choice(model=str(model_dir), duration_s=20.0, run_dir=str(tmp_path / "run"))
    plan, team, _ = inputs.prepare(choice)
    plan.write()
    original = yaml.safe_load(inputs.scenario_path("battery_handover").read_text())
    assert (team.duration_s, team.events) == (20.0, ())
    assert plan.inputs.scenario_file == tmp_path / "run" / "battery_handover.yaml"
    assert yaml.safe_load(plan.inputs.scenario_file.read_text()) == {**original, "duration_s": 20.0, "events": []}


def test_launch_arguments_are_typed_and_checked():
    choice = inputs.choice_of_texts({"speed": "2", "record": "false", "scenario": "many", "run_dir": ""})
    assert (choice.speed, choice.record, choice.scenario, choice.run_dir) == (2.0, False, "many", None)
    assert inputs.choice_of_texts(inputs.LAUNCH_ARGUMENTS).speed == inputs.Choice().speed
    with pytest.raises(ConfigError, match="launch arguments: speed"):
        inputs.choice_of_texts({"speed": "fast"})


def test_two_flights_in_one_second_have_folders_of_their_own(tmp_path):
    first = inputs.default_run_dir("a")
    first.mkdir(parents=True)
    second = inputs.default_run_dir("a")
    assert second != first
    inputs.link_latest(first)
    assert (tmp_path / "runs" / "latest").resolve() == first.resolve()


def test_a_folder_that_holds_a_flight_is_not_flown_into_again(model_dir, tmp_path, capfd):
    (tmp_path / "run" / "bag").mkdir(parents=True)
    assert main(["sim", "--model", str(model_dir), "--run-dir", str(tmp_path / "run")]) == cli.USAGE
    assert "holds a flight already" in capfd.readouterr().err


def test_node_parameters_of_an_unknown_kind_are_refused(tmp_path, monkeypatch):
    (tmp_path / "config" / "nodes").mkdir(parents=True)
    monkeypatch.setattr(inputs, "home", lambda: tmp_path)
    assert inputs.node_parameters() == {}
    (tmp_path / "config" / "nodes" / "policy.yaml").write_text("margin_m: 1.0\n")
    assert inputs.node_parameters() == {"policy": {"margin_m": 1.0}}
    (tmp_path / "config" / "nodes" / "vehicle.yaml").write_text("- a list\n")
    with pytest.raises(ConfigError, match=r"vehicle\.yaml"):
        inputs.node_parameters()
    (tmp_path / "config" / "nodes" / "vehicle.yaml").unlink()
    (tmp_path / "config" / "nodes" / "polisy.yaml").write_text("margin_m: 1.0\n")
    with pytest.raises(ConfigError, match="polisy"):
        inputs.node_parameters()


def test_an_offline_flight_leaves_a_bag_a_report_and_its_verdict_as_exit_code(greedy_model, tmp_path, capfd):
    run_dir = tmp_path / "run"
    words = ["sim", "first_delivery", "--offline", "--model", str(greedy_model), "--run-dir", str(run_dir)]
    code = main(words)
    out = capfd.readouterr().out
    assert (run_dir / "report.html").exists()
    assert str(run_dir / "report.html") in out
    assert code == (cli.FAILED if "FAIL" in out else cli.OK)
    assert "DONE" in out
    capfd.readouterr()
    assert main(["report", str(run_dir), "-o", str(tmp_path / "again.html")]) == code
    assert (tmp_path / "again.html").exists()


@pytest.mark.parametrize("vehicle", ["kinematic", "crazyflie"])
def test_the_default_scenario_passes_every_check_on_either_vehicle(vehicle, tmp_path, capfd):
    assert main(["sim", "--offline", "--vehicle", vehicle, "--run-dir", str(tmp_path / "run")]) == cli.OK
    assert "FAIL" not in capfd.readouterr().out


def test_ledger_bag_and_report_of_a_flight_tell_the_same_and_a_delivery_that_only_one_knows_is_found(
    greedy_model, tmp_path, capfd
):
    run_dir = tmp_path / "run"
    words = ["sim", "first_delivery", "--offline", "--model", str(greedy_model), "--run-dir", str(run_dir)]
    main(words)
    capfd.readouterr()
    assert main(["ledger", "compare", str(run_dir), "--json"]) == cli.OK
    compared = json.loads(capfd.readouterr().out)["compared"]
    about = " ".join(one["what"] for one in compared)
    for what in ("parcel delivered to depot", "parcel on cf1", "served tower [s]", "share met at depot in the report"):
        assert what in about
    ledger = Ledger(run_dir / "ledger.sqlite", ("battery", "parcel"), lambda: 1e3, lambda: 1e9)
    ledger.write([Supplied(id="by hand", drone="cf1", kind="parcel", put_in=0.25, carried=0.25)])
    ledger.close()
    assert main(["ledger", "compare", str(run_dir)]) == cli.FAILED
    assert "1 differ" in capfd.readouterr().out


def test_the_world_and_the_bridge_of_a_scenario_are_written_for_gazebo(model_dir, tmp_path, capfd):
    assert main(["gazebo", str(tmp_path / "gz"), "--scenario", "many", "--model", str(model_dir)]) == cli.OK
    assert capfd.readouterr().out.split() == [str(tmp_path / "gz" / name) for name in ("world.sdf", "bridge.yaml")]
    assert (tmp_path / "gz" / "world.sdf").read_text().count("<robotNamespace>cf12<") == 5
    assert len(yaml.safe_load((tmp_path / "gz" / "bridge.yaml").read_text())) == 1 + 3 * 12


def test_an_offline_flight_without_a_record_is_refused(model_dir, capfd):
    assert main(["sim", "--offline", "--no-record", "--model", str(model_dir)]) == cli.USAGE
    assert "--no-record" in capfd.readouterr().err
