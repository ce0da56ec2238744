"""When a process ends: every row of the table in lifeline.py."""

from lgtc_nodes.lifeline import Cause, Lifeline, LifelineParams

PARENT = 100
PARAMS = LifelineParams(linger_s=0.5, start_s=60.0, silence_s=3.0, grace_s=20.0)


def alive(until_s: float = 10.0) -> Lifeline:
    """A process that has heard /mission ten times a second until now."""
    line = Lifeline(0.0, PARENT, PARAMS)
    for tick in range(int(until_s * 10) + 1):
        line.heard(tick / 10, done=False)
        assert line.update(tick / 10, PARENT) is None
    return line


def test_a_heard_supervisor_keeps_it_running() -> None:
    line = alive()
    assert not line.over(10.0, duty=False)


def test_done_ends_it_after_a_moment() -> None:
    line = alive()
    line.heard(10.1, done=True)
    assert line.update(10.1, PARENT) is Cause.DONE
    assert not line.over(10.4, duty=False)
    assert line.over(10.6, duty=False)


def test_done_waits_for_a_duty_but_not_for_ever() -> None:
    line = alive()
    line.heard(10.0, done=True)
    line.update(10.0, PARENT)
    assert not line.over(15.0, duty=True)
    assert line.over(30.1, duty=True)


def test_the_last_words_after_a_duty_still_leave() -> None:
    line = alive()
    line.heard(10.0, done=True)
    line.update(10.0, PARENT)
    assert not line.over(12.0, duty=True)
    assert not line.over(12.4, duty=False)
    assert line.over(12.6, duty=False)


def test_the_first_signal_waits_for_a_duty_and_no_longer_than_the_grace() -> None:
    line = alive()
    line.signal()
    assert line.update(10.1, PARENT) is Cause.SIGNAL
    assert not line.over(10.2, duty=False)
    assert line.over(10.7, duty=False)
    assert not line.over(29.5, duty=True)
    assert line.over(30.2, duty=True)


def test_the_second_signal_ends_it_at_once() -> None:
    line = alive()
    line.signal()
    line.signal()
    assert line.over(10.0, duty=True)


def test_a_dead_parent_counts_as_a_signal() -> None:
    line = alive()
    assert line.update(10.1, 1) is Cause.ORPHANED
    assert line.over(10.7, duty=False)
    assert not line.over(10.7, duty=True)


def test_a_silent_supervisor_ends_it() -> None:
    line = alive()
    assert line.update(12.9, PARENT) is None
    assert line.update(13.1, PARENT) is Cause.SILENCE
    assert line.over(13.7, duty=False)
    assert not line.over(13.7, duty=True)


def test_a_supervisor_that_is_heard_again_in_time_takes_the_end_back() -> None:
    line = alive()
    assert line.update(13.1, PARENT) is Cause.SILENCE
    line.heard(13.2, done=False)
    assert line.update(13.2, PARENT) is None
    assert not line.over(13.2, duty=False)


def test_a_supervisor_that_never_comes_is_given_longer() -> None:
    line = Lifeline(0.0, PARENT, PARAMS)
    assert line.update(59.9, PARENT) is None
    assert line.update(60.1, PARENT) is Cause.SILENCE


def test_an_end_that_was_asked_for_is_not_taken_back_by_the_supervisor() -> None:
    line = alive()
    line.signal()
    line.update(10.1, PARENT)
    line.heard(10.2, done=False)
    assert line.update(10.2, PARENT) is Cause.SIGNAL
