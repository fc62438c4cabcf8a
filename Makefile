# Short names for the commands of README.md and CONTRIBUTING.md; expects the environment that README.md makes in .venv.
PYTHON ?= .venv/bin/python

.PHONY: test lint types slow quickstart
test:
	$(PYTHON) -m pytest -n 2
lint:
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
types:
	$(PYTHON) -m mypy
slow:
	$(PYTHON) -m pytest -m slow
quickstart:
	$(PYTHON) -m lion_ray.pipeline pipelines/quickstart.yaml
