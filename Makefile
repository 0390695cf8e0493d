# Everything a person or CI does here. Each target sets up .venv by itself; ARGS="..." reaches the tool.
.DEFAULT_GOAL := demo
.PHONY: demo test test-compiled check fmt proto docs compatibility e2e e2e-kamaji fuzz simulate reliability soak bench bench-quick compare gate screenshots image wheel-compiled zipapp sbom release site clean

BIN := .venv/bin

.venv/.stamp: pyproject.toml scripts/venv.sh scripts/python_check.sh
	@sh scripts/venv.sh
	@touch $@

demo: ## the main job on loopback: a request through server and agent, over mutual TLS; 80 MB the first time
	@sh scripts/demo.sh $(ARGS)

test: .venv/.stamp ## everything, two files at a time beside the real nodes; ARGS="-k heartbeat" or ARGS=tests/unit narrows; REPORT=1 writes the compatibility page
	@sh scripts/test.sh $(ARGS)

test-compiled: .venv/.stamp ## the same on the compiled wheel: ARGS=tests/unit (a C compiler; some minutes' build)
	@sh scripts/compiled_venv.sh
	@BUILD=compiled sh scripts/test.sh $(ARGS)

check: .venv/.stamp ## format, lint, types, security, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive konnectivity server agent scripts docker benchmarks
	sh scripts/proto.sh --check
	$(BIN)/python scripts/options_page.py --check
	$(BIN)/python scripts/dashboard.py --check
	$(BIN)/python scripts/audit_schema.py --check
	$(BIN)/python scripts/state_diagrams.py --check
	$(BIN)/python scripts/chart_files.py --check

fmt: .venv/.stamp ## format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: .venv/.stamp ## generate konnectivity/proto from proto/
	sh scripts/proto.sh

docs: .venv/.stamp ## generate the pages of options, the dashboard, the causes of the audit schema and parts of charts/ from the code
	$(BIN)/python scripts/options_page.py
	$(BIN)/python scripts/dashboard.py
	$(BIN)/python scripts/audit_schema.py
	$(BIN)/python scripts/state_diagrams.py
	$(BIN)/python scripts/chart_files.py

compatibility: .venv/.stamp ## run the matrix of Go clients, and real nodes, and write docs/reference/compatibility.md
	@sh tests/cluster/build.sh
	REPORT=1 $(BIN)/pytest -q tests/interop tests/node

# The Kubernetes release of e2e, compatibility and e2e-kamaji; empty means that of tests/cluster/kube/go.mod.
export KUBERNETES ?=
e2e: .venv/.stamp ## real clusters, with kubelets and pods, through the tunnel (root, Go; 10 minutes' build the first time); KUBERNETES=1.35
	@sh tests/cluster/build.sh
	REPORT=$${REPORT:-1} $(BIN)/pytest $(ARGS) tests/cluster tests/node

e2e-kamaji: .venv/.stamp ## real Kamaji with tenants of this project (root, Go, KAMAJI_SOURCES, REFERENCE_SOURCES; 20 minutes' build the first time, 5 minutes to run)
	@sh tests/cluster/build.sh
	@REFERENCE_VERSIONS=v0.36.0 sh tests/interop/reference.sh
	@sh tests/kamaji/build.sh
	PYTHONPATH=tests/kamaji $(BIN)/pytest -p run_report $(ARGS) tests/kamaji
	$(BIN)/pytest -q tests/kamaji/test_recorded.py

MINUTES ?= 10
SEED ?=
fuzz: .venv/.stamp ## fuzz every reader of outside bytes; MINUTES=10; ARGS names targets
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) $(ARGS)

simulate: .venv/.stamp ## servers, agents, clients and lines simulated from random seeds; MINUTES=60 of CPU, SEED=N begins there
	$(BIN)/python -m simulation --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

reliability: .venv/.stamp ## run the fault suite and write docs/operate/reliability.md (root, faketime; 3 minutes)
	PYTHONPATH=tests/adversity $(BIN)/pytest -q -p reliability $(ARGS) tests/adversity

soak: .venv/.stamp ## a mixed load with random faults; MINUTES=30; SEED=N repeats a run
	$(BIN)/python tests/adversity/soak.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: .venv/.stamp wheel-compiled ## all scenarios beside the alternatives, both builds, about 25 minutes on a quiet machine; writes docs/internals/performance.md
	@[ -z "$$REFERENCE_SOURCES" ] || REFERENCE_VERSIONS=4f8517c1 sh tests/interop/reference.sh
	$(BIN)/python -m benchmarks.bench --page $(ARGS)

bench-quick: .venv/.stamp ## the few most telling scenarios, once; about a minute
	$(BIN)/python -m benchmarks.bench --quick $(ARGS)

BASE ?= HEAD
compare: .venv/.stamp ## this checkout beside the commit BASE, turn by turn; about 8 minutes on a quiet machine
	$(BIN)/python -m benchmarks.compare --base $(BASE) $(ARGS)

gate: .venv/.stamp ## CPU time of four operations, beside an earlier commit: at most 15 % more; about a minute
	$(BIN)/python -m benchmarks.gate

screenshots: .venv/.stamp ## the pictures of docs/operate/pictures (Chromium; 5 minutes)
	$(BIN)/python scripts/screenshots.py
	$(BIN)/python scripts/top_picture.py

image: ## the images, with docker, podman or buildah (docs/start/images.md)
	sh scripts/image.sh

wheel-compiled: .venv/.stamp ## dist/: the wheel whose hot modules are C extensions, for this Python and machine (a C compiler)
	PYTHON=$(BIN)/python sh scripts/compiled_wheel.sh

PYTHON ?= python3
zipapp: ## dist/konnectivity: all three programs in one file, for hosts without containers (docs/start/single-file.md)
	$(PYTHON) scripts/single_file.py

release: .venv/.stamp ## dist/: sdist, wheel, single file, chart, list of parts and SHA256SUMS of the commit HEAD, twice the same bytes
	sh scripts/release.sh

sbom: .venv/.stamp ## dist/konnectivity.cdx.json: what images and single file are made of, for CycloneDX tools
	sh scripts/sbom.sh

site: .venv/.stamp ## dist/site: the pages of docs/ as a site with search
	sh scripts/site.sh

clean:
	rm -rf .venv .venv-compiled .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
