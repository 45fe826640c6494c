"""What is answered in the event loop's own thread: only what is known to be quick."""

from __future__ import annotations

from pathlib import Path

import pytest

from autograder.modelserver.capi import TensorFlow
from autograder.modelserver.servable import Servable, Signature
from autograder.modelserver.session import SessionConfig


@pytest.fixture
def signature(tensorflow: TensorFlow, models: Path) -> Signature:
    """A signature of which nothing is known yet."""
    servable = Servable(tensorflow, "lin", 1, str(models / "lin/1"), ["serve"], SessionConfig())
    for _ in range(3):
        servable.signature("").ran()
    return servable.signature("")


def test_nothing_is_cheap_before_it_was_measured(signature: Signature) -> None:
    assert not signature.is_cheap(8)
    assert signature.is_worth_learning(8)


def test_a_quick_run_makes_inputs_of_its_size_cheap(signature: Signature) -> None:
    signature.learn(1e-5, 100)
    assert signature.is_cheap(10)
    assert signature.is_cheap(200)
    assert not signature.is_cheap(201)
    assert signature.is_worth_learning(6400)
    assert not signature.is_worth_learning(1_000_000)


def test_one_slow_measurement_is_measured_again_and_five_are_enough(signature: Signature) -> None:
    signature.learn(0.5, 100)
    assert not signature.is_cheap(100)
    assert signature.is_worth_learning(100)
    for _ in range(4):
        signature.learn(0.5, 100)
    assert not signature.is_worth_learning(100)


def test_a_graph_with_a_loop_is_never_answered_in_the_loop(multi: Servable) -> None:
    assert not multi.inline_allowed
