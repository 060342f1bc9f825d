"""The dashboards as code: ``python -m dashboards.src`` makes the JSON files that the package brings along."""
