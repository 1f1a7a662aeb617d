PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
VIEWER := pipelines/viewer/static/openseadragon

.PHONY: demo test install viewer format clean

demo: install viewer
	$(BIN)/raypath demo

test: install viewer
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

install: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "raypath needs Python 3.11 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# The viewer's one JavaScript library; everything else works without it.
viewer: $(VIEWER)/openseadragon.min.js

$(VIEWER)/openseadragon.min.js: package.json
	@if command -v npm > /dev/null; then \
		npm install --silent --no-audit --no-fund && mkdir -p $(VIEWER) && \
		cp node_modules/openseadragon/build/openseadragon/openseadragon.min.js \
		   node_modules/openseadragon/LICENSE.txt $(VIEWER)/ && touch $@; \
	else \
		echo "npm is not installed: 'raypath view' will not open; everything else works"; \
	fi

format:
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean:
	rm -rf $(VENV) node_modules $(VIEWER) demo build *.egg-info
