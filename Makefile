# Needs python3 and make; everything else goes into .venv, made once.

PYTHON ?= python3
VENV := .venv
CYCLONEDX := 7.5.0
IN_VENV := $(VENV)/bin
# Parts run one after another in processes of their own, so that the memory of one (TensorFlow, servers, threads) cannot
# affect the next. Two processes share the modules of a part, and the first to finish takes over some of the other's, so
# that nearly every module makes its fixtures once.
TEST_PROCESSES ?= 2
IN_PARALLEL = -q -n $(TEST_PROCESSES) --dist worksteal
TEST_PARTS := "tests/models_store tests/client tests/service" tests/workers tests/end_to_end \
              "tests/benchmarks tests/test_readme.py tests/test_hardening.py"

.DEFAULT_GOAL := help
.PHONY: help demo up test test-all test-deploy lint transcript screenshots bench attack nemesis deploy-figures lock sbom clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.product  ## train, test and serve a small experiment, then stop; DATA=path.npz takes your own images
	@$(IN_VENV)/dermatriage demo --with-parent $(if $(DATA),--data "$(DATA)")

up: $(VENV)/.product  ## run the whole product on this machine until Ctrl-C
	@$(IN_VENV)/dermatriage up --with-parent

test: $(VENV)/.product  ## run the tests, without the slow ones; ARGS="-k threshold" passes options on to pytest
ifdef ARGS
	@$(IN_VENV)/python -m pytest $(ARGS)
else
	@set -e; for part in $(TEST_PARTS); do echo "== $$part"; \
	  $(IN_VENV)/python -m pytest $(IN_PARALLEL) -m "not slow" $$part; done
endif

test-all: $(VENV)/.product  ## run every test, the slow ones too
	@set -e; for part in $(TEST_PARTS); do echo "== $$part"; $(IN_VENV)/python -m pytest $(IN_PARALLEL) $$part; done

test-deploy: $(VENV)/.product  ## run the tests of docker-compose.yml on this machine's Docker engine
	@$(IN_VENV)/python -m pytest tests/deploy $(ARGS)

lint: $(VENV)/.product  ## check style, types and the direction of imports
	$(IN_VENV)/ruff check .
	$(IN_VENV)/ruff format --check .
	$(IN_VENV)/mypy
	$(IN_VENV)/lint-imports

transcript: $(VENV)/.product  ## record the terminal session of the README again, from a small experiment
	@$(IN_VENV)/python -m benchmarks.transcript

bench: $(VENV)/.product  ## measure the figures of docs/serving.md, training.md, guarantee.md and live-recall.md again; DATA=path.npz adds those of real images, BEFORE=folder another checkout
	$(IN_VENV)/python -m benchmarks.serving $(if $(BEFORE),--before "$(BEFORE)") --report docs/serving.md
	$(IN_VENV)/python -m benchmarks.serving_views --report docs/serving.md
	$(IN_VENV)/python -m benchmarks.serving_profile $(if $(BEFORE),--before "$(BEFORE)") --report docs/serving.md
	$(IN_VENV)/python -m benchmarks.training_speed
	$(IN_VENV)/python -m benchmarks.correlated_photographs --report docs/guarantee.md
	$(IN_VENV)/python -m benchmarks.live_recall --report docs/live-recall.md
ifdef DATA
	$(IN_VENV)/python -m benchmarks.unlike_training "$(DATA)" --report docs/unlike-training.md
	$(IN_VENV)/python -m benchmarks.guarantee_coverage "$(DATA)" --report docs/guarantee.md
	$(IN_VENV)/python -m benchmarks.selection_policies "$(DATA)" --report docs/selection.md
else
	@echo "Figures of real images were left out; to measure them too: make bench DATA=path.npz"
endif

attack: $(VENV)/.product  ## attack the running product over sockets and report which attacks succeed; ARGS="--database postgresql"
	@$(IN_VENV)/python -m benchmarks.attack $(ARGS)

nemesis: $(VENV)/.product  ## inject faults for a quarter of an hour and write docs/reliability.md; ARGS="--seed 7"
	@$(IN_VENV)/python -m benchmarks.nemesis --report docs/reliability.md $(ARGS)

deploy-figures: $(VENV)/.product  ## measure images, build and start on this machine's Docker engine, into docs/operations.md
	@$(IN_VENV)/python -m tools.deploy_figures

screenshots: $(VENV)/.product  ## photograph every page of the dashboard into docs/images; DATA=path.npz takes your own images
	@$(IN_VENV)/python -m tools.screenshots $(if $(DATA),--data "$(DATA)")

lock:  ## resolve pyproject.toml into requirements.lock, and from it the lock files of the images
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch"; \
	"$$scratch/bin/pip" --disable-pip-version-check --quiet install uv; \
	PATH="$$scratch/bin:$$PATH" uv --system-certs pip compile --quiet --universal --generate-hashes \
	  --no-emit-index-url --all-extras pyproject.toml -o requirements.lock; \
	PATH="$$scratch/bin:$$PATH" docs/deployment/lock-images.sh

sbom:  ## write a CycloneDX bill of materials for the lock of each image into ./var/sbom
	@set -e; scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(PYTHON) -m venv "$$scratch"; mkdir -p var/sbom; \
	"$$scratch/bin/pip" --disable-pip-version-check --quiet install "cyclonedx-bom==$(CYCLONEDX)"; \
	for image in web worker worker-gpu; do \
	  PYTHONWARNINGS=ignore "$$scratch/bin/cyclonedx-py" requirements requirements-$$image.lock --pyproject pyproject.toml \
	    --output-reproducible --output-file var/sbom/$$image.cdx.json; \
	  echo "Wrote var/sbom/$$image.cdx.json."; \
	done

clean:  ## remove the virtual environment and every cache; ./var with its experiments and models stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis *.egg-info client/*.egg-info client/build
	find . -name __pycache__ -type d -not -path './var/*' -prune -exec rm -rf {} +

# The locked packages; pip skips those that are installed in the locked version.
$(VENV)/.packages: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "DermaTriage needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12"; exit 1; }
	@$(IN_VENV)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked packages into $(VENV), once ..."
	@$(IN_VENV)/python -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r requirements.lock
	@touch $@

# The product itself, from this folder, with its client: entry point and versions.
$(VENV)/.product: $(VENV)/.packages pyproject.toml client/pyproject.toml
	@$(IN_VENV)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e ./client -e .
	@touch $@
