"""The algorithm: advantages against the definition, a learning step that helps, resuming, refusing."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from training_cases import EXPERIMENT, WORLDS

from lgtc_core import schema
from lgtc_core.errors import ConfigError, ContractError
from lgtc_training import checkpoint
from lgtc_training.configuration import AlgorithmConfig, ExperimentConfig
from lgtc_training.env import World
from lgtc_training.evaluate import Deterministic, battery_worlds, compare, expert, hand_over, score, standard_worlds
from lgtc_training.ippo import Coefficients, DivergenceError, ReturnScale, Rollout, advantages, collect
from lgtc_training.networks import mean_action
from lgtc_training.train import Trainer, train

CONFIGS = sorted((Path(__file__).parents[3] / "config" / "training").glob("*.yaml"))


def test_advantages_are_the_discounted_sum_of_errors_bootstrapped_at_the_time_limit() -> None:
    torch.manual_seed(1)
    t = 7
    reward, value, last = torch.randn(t, 1, 1), torch.randn(t, 1, 1), torch.randn(1, 1)
    alive = torch.ones(t, 1, 1, dtype=torch.bool)
    config = AlgorithmConfig(gamma=0.9, gae_lambda=0.8)
    rollout = Rollout(*([None] * 5), value, reward, alive, None, None)  # type: ignore[arg-type, list-item]
    advantages(rollout, last, alive[0], config)
    values = torch.cat((value, last[None]))
    delta = reward + 0.9 * values[1:] - value
    expected = sum((0.9 * 0.8) ** k * delta[k] for k in range(t))
    assert torch.allclose(rollout.advantage[0], expected, atol=1e-5)
    assert torch.allclose(rollout.target, rollout.advantage + value)


def test_what_follows_the_loss_of_an_agent_does_not_enter_its_advantage() -> None:
    value, alive = torch.ones(4, 1, 1), torch.tensor([True, True, False, False])[:, None, None]
    rewards = [torch.tensor([1.0, 1.0, x, x])[:, None, None] for x in (0.0, 50.0)]
    results = []
    for reward in rewards:
        rollout = Rollout(*([None] * 5), value, reward, alive, None, None)  # type: ignore[arg-type, list-item]
        advantages(rollout, torch.full((1, 1), 9.0), alive[-1], AlgorithmConfig())
        results.append(rollout.advantage[:2].clone())
    assert torch.equal(*results)


def test_the_value_scale_reports_mean_and_deviation_of_what_it_saw() -> None:
    scale = ReturnScale(True)
    for _ in range(400):
        targets = 3.0 + 2.0 * torch.randn(500)
        scale.update(float(targets.mean()), float(targets.square().mean()))
    mean, deviation = scale.moments()
    assert mean == pytest.approx(3.0, abs=0.1)
    assert deviation == pytest.approx(2.0, abs=0.1)
    assert ReturnScale(False).moments() == (0.0, 1.0)


def test_a_few_updates_bring_choices_nearer_to_eq_2_and_motion_nearer_to_the_expert(tmp_path: Path) -> None:
    config = dataclasses.replace(EXPERIMENT, worlds=(dataclasses.replace(WORLDS, worlds=24, losses=0.0, changes=0.0),))
    config = dataclasses.replace(
        config, algorithm=dataclasses.replace(config.algorithm, learning_rate=5e-3, imitation_steps=10**6)
    )
    trainer = Trainer(config, tmp_path)
    learner = trainer.learner
    held_out = World(config.worlds[0], config.rewards, 999, (learner.policy.message_width, learner.value.message_width))
    imitation = Coefficients(assignment=1.0, motion=1.0, surrogate=False, judge=False)
    rollout, last = collect(held_out, learner.policy, learner.value, learner.scale, trainer.generators[0], imitation)
    advantages(rollout, last, held_out.alive, config.algorithm)
    samples = rollout.flatten()
    rows = samples.starts

    @torch.no_grad()
    def distances() -> tuple[float, float]:
        """(cross-entropy to eq. (2), squared distance to the expert's action, same choice), held-out."""
        out = learner.policy(samples.observation(samples.policy_input, rows))
        same = out.chosen() == samples.choice[rows]
        off = (mean_action(out) - samples.motion[rows]).square().sum(-1)[same].mean()
        return float(functional.cross_entropy(out.logits, samples.label[rows])), float(off)

    before = distances()
    for _ in range(8):
        trainer.iterate()
    after = distances()
    assert after[0] < before[0]
    assert after[1] < 0.5 * before[1]


def test_the_surrogate_raises_the_probability_of_better_actions(tmp_path: Path) -> None:
    trainer = Trainer(EXPERIMENT, tmp_path)
    before = [parameter.clone() for parameter in trainer.learner.policy.parameters()]
    losses, _ = trainer.iterate()
    assert losses.policy < 0.0  # the clipped surrogate gained on its own rollout
    assert 0 <= losses.kl < 0.5
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.learner.policy.parameters(), strict=True))


def test_worlds_for_imitation_alone_leave_the_surrogate_to_the_others(tmp_path: Path) -> None:
    imitated = dataclasses.replace(WORLDS, surrogate=False)
    alone, _ = Trainer(dataclasses.replace(EXPERIMENT, worlds=(imitated,)), tmp_path / "alone").iterate()
    beside, _ = Trainer(dataclasses.replace(EXPERIMENT, worlds=(imitated, WORLDS)), tmp_path / "beside").iterate()
    assert alone.policy == 0.0
    assert alone.assignment > 0.0
    assert beside.policy < 0.0


def test_a_segment_run_again_with_the_weights_of_the_rollout_gives_the_states_that_were_flown(tmp_path: Path) -> None:
    trainer = Trainer(EXPERIMENT, tmp_path)
    policy, value = trainer.learner.policy, trainer.learner.value
    rollout, last = collect(
        trainer.worlds[0], policy, value, trainer.learner.scale, trainer.generators[0], Coefficients(1, 1, True, True)
    )
    advantages(rollout, last, trainer.worlds[0].alive, EXPERIMENT.algorithm)
    samples = rollout.flatten(ticks=4)
    assert 0 < len(samples.starts) < len(rollout.flatten().starts) / 4  # the last segments of lost agents are left out
    x = None
    for tick in range(4):
        rows = samples.starts + tick * samples.stride
        flown = samples.observation(samples.policy_input, rows)
        again = samples.observation(samples.policy_input, rows, x)
        assert torch.allclose(again.state, flown.state, atol=1e-5)
        assert again.state.requires_grad == (tick > 0)
        x = policy(again).state[:, : EXPERIMENT.network.liquid_width]


def test_segments_that_do_not_fill_an_episode_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"worlds\[0\]\.ticks: got 12; expected a multiple .* = 5"):
        dataclasses.replace(EXPERIMENT, algorithm=dataclasses.replace(EXPERIMENT.algorithm, backpropagation_ticks=5))


@pytest.mark.parametrize("ticks", [1, 4])
def test_an_interrupted_run_continues_to_the_same_weights(tmp_path: Path, ticks: int) -> None:
    algorithm = dataclasses.replace(EXPERIMENT.algorithm, backpropagation_ticks=ticks)
    config = dataclasses.replace(EXPERIMENT, algorithm=algorithm)
    whole = Trainer(config, tmp_path / "whole")
    for _ in range(2):
        whole.iterate()
    first = Trainer(config, tmp_path / "parts")
    first.iterate()
    first.save()
    second = Trainer(config, tmp_path / "parts")
    assert second.update == 1
    second.iterate()
    for a, b in zip(whole.learner.policy.parameters(), second.learner.policy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    trainer = Trainer(EXPERIMENT, tmp_path)
    trainer.iterate()
    trainer.save()
    good = (tmp_path / checkpoint.CHECKPOINT).read_bytes()
    with torch.no_grad():
        trainer.learner.value.head[-1].bias.fill_(float("nan"))
    with pytest.raises(DivergenceError, match=r"update 1: the policy loss"):
        trainer.iterate()
    assert (tmp_path / checkpoint.CHECKPOINT).read_bytes() == good


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    Trainer(EXPERIMENT, tmp_path).save()
    other = dataclasses.replace(EXPERIMENT, network=dataclasses.replace(EXPERIMENT.network, features=12))
    with pytest.raises(ContractError, match="another network"):
        Trainer(other, tmp_path)
    (tmp_path / checkpoint.CONFIG).unlink()
    with pytest.raises(ContractError, match="another architecture"):
        Trainer(other, tmp_path)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut short"])
def test_a_broken_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / checkpoint.CHECKPOINT).write_bytes(content)
    with pytest.raises(ConfigError, match=r"checkpoint\.pt"):
        Trainer(EXPERIMENT, tmp_path)


def test_a_checkpoint_with_code_in_it_is_not_executed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "executed",))

    torch.save({"policy": Bomb()}, tmp_path / checkpoint.CHECKPOINT)
    with pytest.raises(ConfigError):
        checkpoint.load(tmp_path / checkpoint.CHECKPOINT)
    assert not (tmp_path / "executed").exists()


def test_a_run_leaves_configuration_origin_log_and_best_weights(tmp_path: Path) -> None:
    config = dataclasses.replace(EXPERIMENT, steps=1, evaluate_every=1)
    config = dataclasses.replace(config, worlds=(dataclasses.replace(WORLDS, worlds=2, ticks=4),))
    train(config, tmp_path, quiet=True)
    run = checkpoint.load_run(tmp_path)
    assert run.config == config
    assert run.scores["ratio_N10_M4"] < 1
    assert {"config.yaml", "origin.json", "log.jsonl", "best.pt", "checkpoint.pt"} <= {
        path.name for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_valid_and_steps(path: Path, tmp_path: Path) -> None:
    config = schema.load(ExperimentConfig, path)
    assert config.name == path.stem
    tiny = tuple(dataclasses.replace(group, worlds=1, ticks=3) for group in config.worlds)
    Trainer(dataclasses.replace(config, worlds=tiny), tmp_path).iterate()


def test_an_unknown_key_is_refused_with_its_place() -> None:
    data = schema.load_yaml(CONFIGS[0])
    data["algorithm"]["learning_rat"] = 1.0
    with pytest.raises(ConfigError, match=r"algorithm\.learning_rat"):
        schema.build(ExperimentConfig, data, "x.yaml")


def test_the_expert_scores_above_greedy_and_an_untrained_policy_below(tmp_path: Path) -> None:
    policy, _ = checkpoint.networks(EXPERIMENT)
    result = compare(policy, standard_worlds(WORLDS, 10, 4, 16), EXPERIMENT.rewards, [5])
    assert result.ratio < result.greedy_ratio < 1.0


def test_the_expert_covers_a_lost_place_again_and_an_untrained_policy_does_not() -> None:
    policy, _ = checkpoint.networks(EXPERIMENT)
    fast = dataclasses.replace(battery_worlds(WORLDS, 8), speed_factor=(1.0, 1.0), lag_s=(0.0, 0.0))
    assert hand_over(policy, fast, EXPERIMENT.rewards, 3, settle_ticks=10, hold_ticks=5).covered < 0.5
    assert score(expert, dataclasses.replace(fast, ticks=60), EXPERIMENT.rewards, 3, (1,)).satisfaction > 0.99


def test_zeroing_the_liquid_state_zeroes_it_in_state_and_message() -> None:
    policy, _ = checkpoint.networks(EXPERIMENT)
    world = World(WORLDS, EXPERIMENT.rewards, 0, (policy.message_width,))
    pilot = Deterministic(policy, zero_liquid=True)
    _, (message,), _ = pilot(world)
    assert pilot.state is not None
    assert (pilot.state[..., :8] == 0).all()
    assert (message[..., :8] == 0).all()
    assert (message[..., 8:] != 0).any()
