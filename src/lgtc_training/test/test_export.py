"""The exported networks: onnxruntime equals torch over a recurrent roll-out, and the card carries what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_cases import EXPERIMENT, OURS, PRINTED

from lgtc_core.errors import ContractError
from lgtc_core.mind.card import load_card
from lgtc_core.mind.observation import INPUTS, OUTPUTS_POLICY, OUTPUTS_VALUE
from lgtc_core.mind.tape import Tape
from lgtc_training import export
from lgtc_training.checkpoint import Run, load_run, networks
from lgtc_training.configuration import NetworkConfig
from lgtc_training.networks import LgtcNetwork
from lgtc_training.train import Trainer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run after a few updates: untrained scores tie too often for a hard choice to be compared bit by bit."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run")
    trainer = Trainer(EXPERIMENT, folder)
    for _ in range(2):
        trainer.iterate()
    trainer.save()
    return load_run(folder)


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export.write_onnx(run.policy.as_onnx(), run.policy, OUTPUTS_POLICY, folder / "policy.onnx")
    export.write_onnx(run.value.as_onnx(*run.value_moments), run.value, OUTPUTS_VALUE, folder / "value.onnx")
    return folder


def test_onnxruntime_equals_torch_over_a_hundred_recurrent_ticks(run: Run, exported: Path) -> None:
    worst, (lowest, highest) = export.largest_difference(run, exported / "policy.onnx", exported / "value.onnx")
    assert worst <= export.TOLERANCE
    assert lowest < highest


@pytest.mark.parametrize(("agents", "consumers", "neighbours"), [(1, 1, 1), (6, 9, 2), (3, 2, 25)])
def test_the_graph_takes_any_number_of_agents_consumers_and_neighbours(
    run: Run, exported: Path, agents: int, consumers: int, neighbours: int
) -> None:
    graph = export.session(exported / "policy.onnx")
    assert [put.name for put in graph.get_outputs()] == list(OUTPUTS_POLICY)
    assert {put.name for put in graph.get_inputs()} <= set(INPUTS)
    observation = export.example(run.policy, agents, consumers, neighbours)
    feed = {put.name: getattr(observation, put.name).numpy() for put in graph.get_inputs()}
    answers = graph.run(None, feed)
    with torch.no_grad():
        ours = run.policy.as_onnx()(*observation)
    for a, b in zip(ours, answers, strict=True):
        assert torch.allclose(a, torch.from_numpy(b), atol=export.TOLERANCE)
    assert torch.allclose(ours[3].sum(-1), torch.ones(agents), atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [OURS, PRINTED, replace(OURS, activation="tanh", input_drives_liquid=True), replace(OURS, liquid=False)],
    ids=["ours", "as printed", "tanh, input drives", "not liquid"],
)
def test_a_network_of_any_switches_can_be_put_on_a_tape(config: NetworkConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LgtcNetwork(config, 4).eval()
    export.write_onnx(network.as_onnx(), network, OUTPUTS_POLICY, tmp_path / "policy.onnx")
    tape = Tape(tmp_path / "policy.onnx")
    observation = export.example(network, 4, 3, 2)
    answers = tape.run({name: getattr(observation, name).numpy() for name in tape.inputs})
    with torch.no_grad():
        ours = network.as_onnx()(*observation)
    for a, b in zip(ours, answers, strict=True):
        assert torch.allclose(a, torch.from_numpy(b), atol=export.TOLERANCE)


def test_an_agent_that_hears_nobody_and_a_padded_consumer_get_finite_answers_equal_to_torchs(
    run: Run, exported: Path
) -> None:
    """Padding is zeros, where the gradient of a length, and a careless export of it, is not finite."""
    observation = export.example(run.policy, 1, 3, 1)
    observation = observation._replace(
        consumers=torch.cat((observation.consumers[:, :2], 0 * observation.consumers[:, :1]), 1),
        consumer_mask=torch.tensor([[1.0, 1.0, 0.0]]),
        neighbours=0 * observation.neighbours,
        neighbours_seen=0 * observation.neighbours_seen,
        neighbour_mask=0 * observation.neighbour_mask,
    )
    graph = export.session(exported / "policy.onnx")
    answers = graph.run(None, {put.name: getattr(observation, put.name).numpy() for put in graph.get_inputs()})
    with torch.no_grad():
        ours = run.policy.as_onnx()(*observation)
    for a, b in zip(ours, answers, strict=True):
        assert torch.isfinite(torch.from_numpy(b)).all()
        assert torch.allclose(a, torch.from_numpy(b), atol=export.TOLERANCE)


def test_the_check_would_notice_another_network(run: Run, exported: Path) -> None:
    policy, _ = networks(EXPERIMENT)
    other = Run(run.config, policy, run.value, {}, run.value_moments)
    worst, _ = export.largest_difference(other, exported / "policy.onnx", exported / "value.onnx", ticks=3)
    assert worst > 100 * export.TOLERANCE


def test_a_card_is_written_only_for_networks_that_agree(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    trainer = Trainer(EXPERIMENT, folder)
    trainer.iterate()
    trainer.save()
    monkeypatch.setattr(export, "full_table", lambda *_: {"N10_M4": {"ratio": 0.5}})  # measured in its own test
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ContractError, match="from torch's"):
        export.export(folder, tmp_path / "m", "m", 1, 2)
    assert not (tmp_path / "m" / "card.json").exists()
    monkeypatch.setattr(export, "TOLERANCE", 1e-5)
    export.export(folder, tmp_path / "m", "m", 1, 2)
    card = load_card(tmp_path / "m")
    assert card.resource_kinds == 2
    assert card.message_width == run.policy.message_width
    assert card.contraction_rate == pytest.approx(float(trainer.learner.policy.contraction_rate()))
    assert card.network["competition"] is True
    assert card.training["seed"] == EXPERIMENT.seed
