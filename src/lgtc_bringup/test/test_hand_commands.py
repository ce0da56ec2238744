"""The operator's hand: every command against the real demand server, and the ledger that it leaves behind."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from lgtc_bringup import cli, inputs
from lgtc_bringup.demand_command import with_amounts
from lgtc_core.demand.book import DemandBook
from lgtc_core.demand.consumer import ConsumerSpec
from lgtc_core.demand.ledger import Ledger, LedgerReader
from lgtc_core.errors import ConfigError
from lgtc_core.fleet.scenario import load_scenario
from lgtc_core.fleet.team import load_team

KINDS = ("battery", "parcel")
SPEC = ConsumerSpec(name="a", position_m=(0.0, 0.0), radius_m=0.5, demanded=(1.0, 2.0), depletion=(1, 0))


# ---- ledger


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    times = iter(range(100))
    ledger = Ledger(tmp_path / "ledger.sqlite", KINDS, lambda: float(next(times)), lambda: 1_700_000_000.0)
    book = DemandBook(KINDS, ("cf1", "cf2"), journal=ledger, accounts=ledger.accounts)
    book.add(SPEC, "start")
    book.put_in("load", "cf1", "parcel", 3.0)
    for n in range(4):
        book.deliver(f"r{n}", "cf1", "a", "parcel", 0.25)
    ledger.close()
    return tmp_path / "ledger.sqlite"


def test_the_ledger_shows_the_amounts_of_any_time(ledger_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    carried = {}
    for at in ("0", "1", "3.5", "1000", "2023-11-14T22:13:20", None):
        options = [] if at is None else ["--at", at]
        assert cli.main(["ledger", "show", str(ledger_file), "--json", *options]) == cli.OK
        shown = json.loads(capsys.readouterr().out)
        delivered = shown["consumers"]["a"]["delivered"]["parcel"]
        assert delivered + shown["consumers"]["a"]["missing"]["parcel"] == 2.0
        if shown["drones"]:
            carried[at] = shown["drones"]["cf1"]["carried"]["parcel"]
            assert carried[at] + delivered == 3.0
    assert carried == {"1": 3.0, "3.5": 2.5, "1000": 2.0, "2023-11-14T22:13:20": 2.0, None: 2.0}
    assert cli.main(["ledger", "show", str(ledger_file), "--rows"]) == cli.OK
    text = capsys.readouterr().out
    assert "Delivered: id r3" in text
    assert "after change 6" in text


def test_the_check_says_whether_a_ledger_is_in_order(ledger_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ledger", "check", str(ledger_file)]) == cli.OK
    assert "6 rows, all in order" in capsys.readouterr().out
    data = ledger_file.read_bytes()
    ledger_file.write_bytes(data.replace(b'"amount":0.25', b'"amount":0.75', 1))
    assert cli.main(["ledger", "check", str(ledger_file), "--json"]) == cli.FAILED
    assert "is not what was written" in json.loads(capsys.readouterr().out)["problems"][0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "none.sqlite"], "there is no such file"),
        (["check", "none.sqlite"], "there is no such file"),
        (["show", "{file}", "--at", "noon"], "--at"),
        (["show", "{file}", "--at", "nan"], "finite"),
    ],
)
def test_a_wrong_ledger_or_time_is_one_sentence(
    words: list[str], said: str, ledger_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ledger", *(word.format(file=ledger_file) for word in words)]) == cli.USAGE
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


# ---- amounts


def test_amounts_change_what_they_name_and_nothing_else() -> None:
    assert with_amounts(SPEC, KINDS, ["parcel=3"], None).demanded == (1.0, 3.0)
    changed = with_amounts(SPEC, KINDS, ["parcel=3:zero_depletion", "battery=0"], None)
    assert (changed.demanded, changed.depletion, changed.name) == ((0.0, 3.0), (1, 1), "a")


@pytest.mark.parametrize("word", ["parcel", "parcel=", "parcel=x", "gold=1", "parcel=1:slowly", "=1"])
def test_amounts_that_say_nothing_are_refused(word: str) -> None:
    with pytest.raises(ConfigError):
        with_amounts(SPEC, KINDS, [word], None)


# ---- the whole, through ROS


class Server:
    """A demand server of the first delivery, in a domain of its own, and the command beside it."""

    def __init__(self, folder: Path, domain: int) -> None:
        self.environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": str(folder / "ros")}
        values = {
            "fleet_file": str(inputs.fleet_path("fleet")),
            "scenario_file": str(inputs.scenario_path("first_delivery")),
            "ledger_file": str(folder / "ledger.sqlite"),
        }
        monitor = {key: value for key, value in values.items() if key != "ledger_file"}
        params = {"/demand_server": values, "/cf1/resource_monitor": monitor}
        (folder / "params.yaml").write_text(yaml.safe_dump({k: {"ros__parameters": v} for k, v in params.items()}))
        self._arguments = ["--ros-args", "--params-file", str(folder / "params.yaml")]
        self.process = self.start("demand_server")

    def start(self, node: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "lgtc_nodes.host", "--node", node, *self._arguments]
        return subprocess.Popen(command, env=self.environment)

    def lgtc(self, *words: str, code: int = cli.OK) -> str:
        command = [sys.executable, "-m", "lgtc_bringup.cli", *words]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == cli.OK else done.stderr

    def consumers(self) -> dict:
        return json.loads(self.lgtc("demand", "list", "--json"))["consumers"]


@pytest.fixture
def server(tmp_path: Path, ros_domain: int) -> Iterator[Server]:
    """Ends by itself where no supervisor is heard for LifelineParams.start_s: a test has that long."""
    server = Server(tmp_path, ros_domain)
    yield server
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    with LedgerReader(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.check() == []


@pytest.mark.ros
def test_the_operator_sees_and_changes_the_demand_in_flight(server: Server, tmp_path: Path) -> None:
    before = server.consumers()
    assert set(before) == {"depot", "harbour", "tower"}
    server.lgtc("demand", "add", "pier", "2", "-1", "parcel=0.5", "battery=0.3:zero_depletion")
    server.lgtc("demand", "move", "tower", "-0.5", "-1.6")
    server.lgtc("demand", "set", "depot", "parcel=0.75")
    done = json.loads(server.lgtc("demand", "remove", "harbour", "--json"))
    assert (done["done"], done["consumer"]["name"]) == ("remove", "harbour")
    after = server.consumers()
    assert set(after) == {"depot", "tower", "pier"}
    assert after["pier"]["demand"]["parcel"] == {"amount": 0.5, "remaining": 0.5, "depletion": "instantaneous"}
    assert after["tower"]["position_m"] == [-0.5, -1.6]
    assert after["depot"]["demand"]["parcel"]["amount"] == 0.75
    listed = server.lgtc("demand", "list")
    assert "pier" in listed
    assert "a disc" not in listed
    with LedgerReader(tmp_path / "ledger.sqlite") as ledger:
        assert set(ledger.audit().accounts.entries) == set(after)


@pytest.mark.ros
def test_what_is_exported_is_a_scenario_and_is_imported_as_it_was(server: Server, tmp_path: Path) -> None:
    before = server.consumers()
    assert "a place in the arena" in server.lgtc("demand", "move", "tower", "9", "9", code=cli.USAGE)
    assert "one of depot, harbour, tower" in server.lgtc("demand", "remove", "pier", code=cli.USAGE)
    file = tmp_path / "kept.yaml"
    server.lgtc("demand", "export", str(file))
    kept = yaml.safe_load(file.read_text())
    kept["consumers"]["depot"]["radius_m"] = 0.3
    kept["consumers"]["pier"] = {**kept["consumers"]["tower"], "position_m": [9.0, 9.0]}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(kept))
    assert "a place in the arena" in server.lgtc("demand", "import", str(tmp_path / "wrong.yaml"), code=cli.USAGE)
    assert server.consumers() == before, "all or nothing"
    server.lgtc("demand", "remove", "tower")
    server.lgtc("demand", "import", str(file))
    again = server.consumers()
    assert {name: one["demand"] for name, one in again.items()} == {name: one["demand"] for name, one in before.items()}
    scenario = {"title": "as exported", "duration_s": 60.0, **yaml.safe_load(file.read_text())}
    whole = tmp_path / "scenario.yaml"
    whole.write_text(yaml.safe_dump(scenario))
    assert set(load_scenario(whole).file.consumers) == set(before)
    assert len(load_team(inputs.fleet_path("fleet"), whole).consumers) == 3


@pytest.mark.ros
def test_a_supply_set_by_hand_is_answered_when_the_ledger_has_it_or_says_that_it_has_not(
    server: Server, tmp_path: Path
) -> None:

    def booked(expected: float) -> None:
        end_s, carried = time.monotonic() + 30.0, math.nan
        while carried != expected:
            assert time.monotonic() < end_s, f"the ledger has {carried}"
            time.sleep(0.2)
            with LedgerReader(tmp_path / "ledger.sqlite") as ledger:
                carried = ledger.audit().accounts.carried("cf1", 1)

    assert server.consumers()
    monitor = server.start("resource_monitor:cf1")
    try:
        booked(0.7)
        answer = json.loads(server.lgtc("supply", "set", "cf1", "parcel", "0.75", "--json"))
        assert (answer["carried"], answer["message"]) == (0.75, "")
        booked(0.75)
        server.process.kill()
        server.process.wait()
        assert "the ledger does not have it yet" in server.lgtc("supply", "set", "cf1", "parcel", "0.25")
        server.process = server.start("demand_server")
        booked(0.25)
    finally:
        monitor.kill()
        monitor.wait()


@pytest.mark.ros
def test_where_nobody_flies_the_commands_say_so(tmp_path: Path, ros_domain: int) -> None:
    environment = {**os.environ, "ROS_DOMAIN_ID": str(ros_domain), "ROS_LOG_DIR": str(tmp_path)}
    begun_s = time.monotonic()
    for words in (["status"], ["supply", "set", "cf1", "battery", "nan"]):
        command = [sys.executable, "-m", "lgtc_bringup.cli", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == cli.USAGE
        assert done.stderr.startswith("lgtc: ")
        assert done.stderr.count("\n") == 1
    assert time.monotonic() - begun_s < 60.0
