# What there is to do here, one word each. README.md says the same without make.
PYTHON = python3
BENCHMARKS = $(filter-out %/__init__.py,$(wildcard benchmarks/*.py))

.PHONY: setup run test check bench docs web constraints

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]'
	touch $@

run: setup $(if $(shell command -v npm),web/static/vendor/mqtt.js)
	.venv/bin/fieldbeat up --simulate 25

test: setup
	.venv/bin/pytest

check: setup
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup
	for program in $(subst /,.,$(basename $(BENCHMARKS))); do .venv/bin/python -m $$program || exit; done

docs: setup
	.venv/bin/python -m tests.house.reference
	.venv/bin/python -m tests.asyncapi_document

# The live map's libraries, from npm; everything but the map works without.
web:
	npm --prefix web ci && npm --prefix web run vendor

# What `run` makes of it: where npm cannot do it, the page says so, and the rest runs.
web/static/vendor/mqtt.js: web/package-lock.json web/vendor.mjs
	-npm --prefix web ci && npm --prefix web run vendor

# Takes the newest versions that pyproject.toml allows; run the tests before you commit them.
constraints:
	rm -rf .venv && $(PYTHON) -m venv .venv && .venv/bin/pip install -e '.[dev]'
	.venv/bin/pip freeze --exclude-editable > constraints.txt
