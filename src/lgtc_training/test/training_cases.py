"""Small worlds and networks that the tests of this package share."""

import dataclasses

from lgtc_training.configuration import AlgorithmConfig, ExperimentConfig, NetworkConfig, WorldConfig

OURS = NetworkConfig(
    kinds=2, features=8, liquid_width=8, head=(16,), selected_features=True, kind_one_hot=True,
    relative_position=True,
    distance_bias=True, repulsion=True, edge_scorer=True, announced_choice=True, competition=True,
    competition_width=8, relayed_load=True, spread=True, impatience=0.05,
)  # fmt: skip
PRINTED = NetworkConfig(kinds=2, features=8, liquid_width=8, head=(16,))
WORLDS = WorldConfig(
    worlds=4, ticks=12, agents=(3, 6), consumers=(2, 4), message_loss=(0.0, 0.4), losses=1.0, changes=1.0,
    mixed_kinds=True,
    discharge_per_s=(0.0, 0.1), speed_factor=(0.3, 1.0), lag_s=(0.0, 0.3),
)  # fmt: skip
EXPERIMENT = ExperimentConfig(
    name="test",
    network=OURS,
    worlds=(WORLDS, dataclasses.replace(WORLDS, single_kind=1.0, zero_depletion=1.0, agents_per_update=2)),
    algorithm=AlgorithmConfig(
        batch=16, epochs=2, learning_rate=1e-3, assignment_loss=1.0, motion_loss=1.0, value_normalisation=True
    ),
    steps=10**6,
    evaluation_worlds=2,
    evaluate_every=10**6,
)  # fmt: skip
