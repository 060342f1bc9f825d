"""`sidecar slo`: what a person sees."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.alerts.export import default_slos
from sidecar.cli import main

GOOD = "version: sidecar/v1\nservice: s\nslos:\n  - {name: a, kind: first_token, objective: 95, threshold: 3s}\n"


def slo(*args: str, stdin: str = GOOD) -> Result:
    return CliRunner().invoke(main, ["slo", *args], input=stdin)


def test_validate_tells_warnings_of_both_histograms_and_passes() -> None:
    done = slo("validate", "-")
    assert done.exit_code == 0
    assert "<stdin>:4: warning: 3s is no bound of a native histogram; 2.95365 s is taken" in done.output
    assert "<stdin>:4: warning: 3s is no bound of a classic histogram; 2.82843 s is taken" in done.output
    assert "<stdin>: 1 objective, no errors" in done.output


def test_validate_ends_with_1_where_something_is_wrong() -> None:
    done = slo("validate", "-", stdin=GOOD.replace("95", "high").replace("name: a", "nam: a"))
    assert done.exit_code == 1
    assert "<stdin>:4: error: objective must be a number, not 'high'" in done.output
    assert "<stdin> has 3 errors; nothing was generated" in done.output


def test_the_default_objectives_have_no_fault_whatever_the_histogram() -> None:
    done = slo("validate", "-", stdin=default_slos())
    assert done.output == "<stdin>: 3 objectives, no errors\n"


def test_generate_writes_rules_or_a_resource(tmp_path: Path) -> None:
    printed = yaml.safe_load(CliRunner().invoke(main, ["slo", "generate", "-", "--native"], input=GOOD).stdout)
    file = tmp_path / "rules.yaml"
    assert slo("generate", "-", "--native", "--operator", "-o", str(file)).exit_code == 0
    resource = yaml.safe_load(file.read_text())
    assert resource["kind"] == "PrometheusRule"
    assert resource["spec"]["groups"] == printed["groups"]


def test_generate_refuses_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    assert slo("generate", "-", "-o", str(file), stdin=GOOD.replace("3s", "3ms")).exit_code == 1
    assert not file.exists()


@pytest.mark.parametrize(
    "said",
    [
        "claude-availability: 99.5 % over 30d",
        "all calls but cancelled ones and those whose fault was the caller's",
        "budget  0.5 %: 500 of 100,000 may fail, or all of them for 3 h 36 min",
        "page    above 7.2 % failing over 1h and over 5m (14.4 times the budget's pace); with everything failing,",
        "everything failing, after 4 min 19 s",
        "streams that ended well and began within 8 s",
        "of      profile interactive",
        "silent  while no more than 50 calls came, or 5 failed, in an alert's long window",
    ],
)
def test_explain_says_it_in_plain_words(said: str) -> None:
    assert said in slo("explain", "-", stdin=default_slos()).output


def test_explain_says_what_is_off_impossible_or_somebody_elses() -> None:
    text = GOOD.replace("95,", "92, ticket: false, count_rate_limited: false,")
    done = slo("explain", "-", stdin=text).output
    assert "ticket  off" in done
    assert "page    over 1h: impossible, left out" in done
    assert "rate-limited ones" in done
    golden = Path(__file__).parent / "golden" / "in-sloth.yaml"
    assert "what the queries say" in slo("explain", str(golden)).output
    raw = golden.read_text().split("      events:")[0] + "      raw: {error_ratio_query: 'x[{{.window}}]'}\n"
    assert "what the ratio query says" in slo("explain", "-", stdin=raw + "    alerting: {name: X}\n").output


@pytest.mark.parametrize("command", ["validate", "generate", "explain"])
def test_a_file_that_is_no_text_is_refused_in_one_line(command: str, tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    file.write_bytes(b"\xff\xfe")
    done = slo(command, str(file))
    assert (done.exit_code, done.output) == (1, f"Error: {file} is not UTF-8 text\n")


def test_an_output_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "rules.yaml"
    done = slo("generate", "-", "--native", "-o", str(file), stdin=default_slos())
    assert (done.exit_code, done.output) == (1, f"Error: cannot write {file}: No such file or directory\n")


def test_rules_never_replace_the_objectives_they_are_made_of(tmp_path: Path) -> None:
    file = tmp_path / "slo.yaml"
    file.write_text(default_slos())
    done = slo("generate", str(file), "-o", str(tmp_path / "." / "slo.yaml"))
    assert done.exit_code == 2
    assert "holds the objectives themselves: name another file" in done.output
    assert file.read_text() == default_slos()
