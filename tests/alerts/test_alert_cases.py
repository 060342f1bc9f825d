"""Every alert, judged by promtool: when it fires, when it resolves, and when it must not fire."""

from pathlib import Path

import pytest

from sidecar.alerts import ALERT_NAMES
from tests.alerts import cases_calls, cases_slow, cases_timeouts
from tests.alerts.promtool import Case, check

CASES: tuple[Case, ...] = (*cases_timeouts.CASES, *cases_calls.CASES, *cases_slow.CASES)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_promtool_agrees(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_every_alert_has_a_case_that_fires_one_that_resolves_and_two_that_must_not_fire(alert: str) -> None:
    mine = [case for case in CASES if case.alert == alert]
    assert any(case.fires_and_resolves[0] for case in mine)
    assert any(case.fires_and_resolves[1] for case in mine)
    assert sum(not any(case.fires.values()) for case in mine) >= 2
