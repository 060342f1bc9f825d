# Every target sets up what it needs: on a fresh machine with Python 3.11+, make and git, start anywhere.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PY := .venv/bin/python
# Tests side by side, a file at a time. One more than the cores of a small machine: many wait for real servers.
JOBS ?= 3

.PHONY: help demo test check format lock test-matrix test-sdk test-langchain test-claude-code bench bench-proxy soak chaos-test mutation alerts dashboards reference screenshots console-picture clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.made: requirements-dev.lock pyproject.toml scripts/venv
	@scripts/venv

demo: .venv/.made ## From a calm API to an alert on the screen, with real servers; Ctrl-C ends it
	@servers=$$(scripts/servers); PATH="$$PWD/.venv/bin:$$servers$$PATH" sidecar demo $(DEMO_ARGS)

test: .venv/.made check ## Set up, then lint, type-check and test everything
	@servers=$$(scripts/servers); browser=$$(scripts/browser); \
	export PATH="$$PWD/.venv/bin:$$browser$$servers$$PATH"; \
	rm -f .coverage .coverage.*; \
	coverage run -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS); \
	coverage combine --quiet; coverage report --fail-under=95

check: .venv/.made ## Lint and type-check only
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: .venv/.made ## Format the code and mend what ruff can mend
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format .

lock: .venv/.made ## Refresh requirements-dev.lock from pyproject.toml
	@.venv/bin/uv pip compile --quiet --universal --upgrade --generate-hashes --no-emit-package claude-sidecar \
	  --all-extras --group dev --group docs --group dashboards --python-version 3.11 --custom-compile-command "make lock" \
	  pyproject.toml --output-file requirements-dev.lock

test-matrix: .venv/.made ## Test against the oldest and the newest supported dependencies
	@servers=$$(scripts/servers); browser=$$(scripts/browser); \
	PATH="$$browser$$servers$$PATH" $(PY) scripts/matrix.py -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-sdk: .venv/.made ## Run the SDK's own tests without and with install(), and compare
	@$(PY) scripts/foreign_suite.py sdk

test-langchain: .venv/.made ## The same with langchain-anthropic's unit tests
	@$(PY) scripts/foreign_suite.py langchain

test-claude-code: .venv/.made ## Run the Claude Code CLI (from npm) with and without the proxy, and compare
	@$(PY) scripts/claude_code.py

bench: .venv/.made ## Run the benchmarks (ratios, in CPU time)
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(PY) "$$file"; done

soak: .venv/.made ## Half an hour of everything going wrong through the proxy (MINUTES=30): no leak, exact counts
	@$(PY) scripts/soak.py --minutes $(or $(MINUTES),30)

chaos-test: .venv/.made ## Two minutes of kill -9 around the proxy and in it (SECONDS=120): nothing hangs, counts hold
	@$(PY) scripts/chaos_test.py --seconds $(or $(SECONDS),120)

bench-proxy: .venv/.made ## Measure the proxy beside nginx, haproxy, Envoy and LiteLLM
	@proxies=$$(scripts/proxies); env $$proxies $(PY) -m benchmarks.proxy

mutation: .venv/.made ## Mutate sidecar/policy; its tests must kill 95 %, and every survivor be explained
	@$(PY) scripts/mutation.py

alerts: .venv/.made ## Write alerts/ anew (a test fails when it differs from what this makes)
	@rm -rf alerts
	@for kind in native classic; do .venv/bin/sidecar export alerts alerts --$$kind >/dev/null 2>&1; done

dashboards: .venv/.made ## Write the dashboards anew (a test fails when they differ from what this makes)
	@$(PY) -m dashboards.src
	@rm -rf dashboards/*.json dashboards/provisioning
	@.venv/bin/sidecar export dashboards dashboards >/dev/null

reference: .venv/.made ## Write the reference pages anew (a test fails when they differ from what this makes)
	@$(PY) scripts/reference.py

screenshots: .venv/.made ## Draw the README's dashboard picture (RENDER=program, see docs/dashboards.md)
	@servers=$$(scripts/servers); PATH="$$servers$$PATH" $(PY) scripts/screenshots.py

console-picture: .venv/.made ## Draw the picture of the console
	@browser=$$(scripts/browser); PATH="$$browser$$PATH" $(PY) scripts/console_picture.py

clean: ## Remove everything that was made here
	rm -rf .venv mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* build dist
