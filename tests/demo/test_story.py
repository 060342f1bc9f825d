"""A step is ticked when it has been seen, and not before; and both views tell it."""

import datetime as dt
import io

import pytest
from rich.console import Console

from sidecar.demo.pages import Numbers
from sidecar.demo.story import ALERT, Scene, Story
from sidecar.demo.view import PlainView, TerminalView
from sidecar.demo.webhook import Notice

CALM = Numbers(outcomes={"ok": 15}, p95=0.4)
SPIKE = Numbers(outcomes={"ok": 15, "timeout": 5}, phases={"first_byte": 5}, timing_out=0.25)
OPEN = Numbers(
    outcomes={"ok": 15, "timeout": 5, "rejected": 7},
    phases={"first_byte": 5},
    breakers={"api/claude-a": "open"},
    opened=1,
)
OVER = Numbers(
    outcomes={"ok": 40, "timeout": 5, "rejected": 7},
    phases={"first_byte": 5},
    breakers={"api/claude-a": "closed"},
    opened=1,
    retried={"recovered": 2},
)


def notice(*, firing: bool, name: str = ALERT, model: str = "claude-a") -> Notice:
    return Notice(
        name=name,
        firing=firing,
        receiver="on-call",
        labels={"model": model},
        annotations={"summary": "22% of the calls time out"},
        started="2026-01-01T00:00:00Z",
        arrived=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )


def names(story: Story, *scenes: Scene) -> list[str]:
    return [step.name for scene in scenes for step in story.see(scene)]


def test_the_story_is_told_in_the_order_it_was_seen() -> None:
    story = Story()
    fired, resolved = notice(firing=True), notice(firing=False)
    told = names(
        story,
        Scene(),
        Scene(CALM),
        Scene(CALM),
        Scene(SPIKE),
        Scene(OPEN, [fired]),
        Scene(OVER, [fired]),
        Scene(OVER, [fired, resolved]),
    )
    assert told == ["calm", "spike", "alert", "breaker", "retries", "closed", "resolved"]
    assert story.missing == []
    assert story.told["alert"] == "22% of the calls time out"
    assert story.told["breaker"] == "7 calls failed at once instead of waiting for a timeout"


def test_an_alert_is_over_when_it_is_over_for_every_model() -> None:
    story = Story()
    one, other = notice(firing=True), notice(firing=True, model="claude-b")
    told = [one, other, notice(firing=False)]
    names(story, Scene(CALM), Scene(SPIKE, [one, other]), Scene(OVER, told))
    assert "resolved" not in story.told
    names(story, Scene(OVER, [*told, notice(firing=False, model="claude-b")]))
    assert "resolved" in story.told


def test_other_alerts_do_not_stand_for_the_spikes() -> None:
    story = Story()
    names(story, Scene(CALM), Scene(SPIKE, [notice(firing=True, name="ClaudeOverloaded")]))
    assert "alert" in [step.name for step in story.missing]


def test_nothing_after_the_trouble_counts_before_there_was_any() -> None:
    assert names(Story(), Scene(Numbers(retried={"recovered": 1}))) == []


def test_without_alerts_the_story_has_no_such_steps() -> None:
    story = Story(alerts=False)
    names(story, Scene(CALM), Scene(SPIKE), Scene(OPEN), Scene(OVER))
    assert story.missing == []
    assert {"alert", "resolved"} & set(story.told) == set()


def test_plain_lines_tell_everything_with_its_second() -> None:
    lines: list[str] = []
    now = [100.0]
    view = PlainView(lines.append, clock=lambda: now[0])
    story = Story()
    (step,) = story.see(Scene(CALM))
    view.say("ready")
    now[0] += 2.5
    view.step(step, story.told["calm"])
    view.notice(notice(firing=True))
    view.numbers(SPIKE)
    view.numbers(OPEN)
    view.links({"console": "http://127.0.0.1:1/"})
    assert lines == [
        "   0.0 s  ready",
        "   2.5 s  [x] A calm API: 15 calls answered, p95 0.4 s",
        f"   2.5 s  webhook: FIRING {ALERT}: 22% of the calls time out",
        "   2.5 s  0.0 calls/s, 25% timing out, p95 -, breakers: none yet",
        "   2.5 s  console: http://127.0.0.1:1/",
    ]


@pytest.mark.parametrize("width", [60, 100])
def test_the_picture_shows_steps_numbers_messages_and_links(width: int) -> None:
    screen = io.StringIO()
    story = Story()
    with TerminalView(Console(file=screen, width=width, height=60, force_terminal=True), story) as view:
        for step in story.see(Scene(CALM)):
            view.step(step, story.told[step.name])
        view.say("everything runs")
        view.numbers(OPEN)
        view.notice(notice(firing=True))
        view.notice(notice(firing=False))
        view.links({"console": "http://127.0.0.1:1/"})
    shown = screen.getvalue()
    for text in ("A calm API", "15 calls answered", "claude-a", "open", "FIRING", "resolved", "everything runs"):
        assert text in shown
    assert "http://127.0.0.1:1/" in shown
