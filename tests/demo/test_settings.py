"""What the servers are told holds what the caller gave, and the example's routes survive."""

from pathlib import Path

import yaml

from sidecar.alerts import load_values
from sidecar.alerts.export import Layout, bundle
from sidecar.demo import delivering, scraping

EXAMPLE = bundle(load_values(), [], Layout())["alertmanager/alertmanager.example.yaml"]


def test_each_job_is_scraped_at_its_targets() -> None:
    config = scraping({"a": ["127.0.0.1:1"], "b": ["127.0.0.1:2"]}, every="2s", rules=[Path("/r.yaml")])
    assert config["global"] == {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"}
    assert config["rule_files"] == ["/r.yaml"]
    assert [job["job_name"] for job in config["scrape_configs"]] == ["a", "b"]
    assert "alerting" not in config


def test_alerts_go_to_the_alertmanager_that_is_given() -> None:
    config = scraping({}, alertmanager="127.0.0.1:3")
    assert config["alerting"] == {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:3"]}]}]}


def test_every_receiver_of_the_example_becomes_the_webhook_and_its_routes_stay() -> None:
    example, config = yaml.safe_load(EXAMPLE), delivering(EXAMPLE, "http://127.0.0.1:1/", within="2s")
    assert [receiver["name"] for receiver in config["receivers"]] == [each["name"] for each in example["receivers"]]
    for receiver in config["receivers"]:
        assert receiver["webhook_configs"] == [{"url": "http://127.0.0.1:1/", "send_resolved": True}]
        assert set(receiver) == {"name", "webhook_configs"}
    assert config["inhibit_rules"] == example["inhibit_rules"]
    for route, was in zip(
        (config["route"], *config["route"]["routes"]), (example["route"], *example["route"]["routes"]), strict=True
    ):
        assert (route["receiver"], route.get("matchers")) == (was["receiver"], was.get("matchers"))
        assert (route["group_wait"], route["group_interval"]) == ("2s", "2s")
