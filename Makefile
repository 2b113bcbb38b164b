# Everything one does with a checkout. `make help` lists it.

.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	"$$python" -c '$(SUPPORTED)' 2>/dev/null && echo "$$python" && break; done)
# Bytecode is compiled once here, and not in the first run of each step.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes
# An editable install: the checkout itself is what runs.
INSTALL_CHECKOUT := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

# ------------------------------------------------------------------------------------------------ set-up
# Three layers in one environment, so that compiling does not wait for torch:
#   .base  kfp and what compiling takes (about 200 MB)
#   .run   torch, the model server, the data: what `make run` takes (about 3 GB to download on Linux)
#   .dev   the test tools

$(BIN)/uv: requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	@"$(PYTHON)" -c '$(SUPPORTED)' || { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13. Name one: make PYTHON=/path/to/python3.12"; exit 2; }
	@"$(PYTHON)" -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment. On Debian: apt install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/.base: requirements/base.txt pyproject.toml $(BIN)/uv
	@echo "Setting up: kfp and what compiling takes …"
	@$(INSTALL) -r requirements/base.txt && $(INSTALL_CHECKOUT) && touch $@

$(VENV)/.run: requirements/run.txt $(VENV)/.base
	@echo "Setting up: torch, the model server and the data; the first time about 3 GB are downloaded …"
	@$(INSTALL) -r requirements/run.txt && touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo "Setting up: the test tools …"
	@$(INSTALL) -r requirements/dev.txt && touch $@

.PHONY: setup
setup: $(VENV)/.dev ## Set up everything in .venv

.PHONY: lock
lock: $(BIN)/uv ## Resolve the pinned requirement files again
	@$(LOCK) $(UPGRADE) pyproject.toml requirements/build.in requirements/dev.in --extra local --extra language-serving --extra torchserve --extra cluster --extra vertex -o requirements/dev.txt
	@$(LOCK) pyproject.toml requirements/build.in --extra local --extra cluster -c requirements/dev.txt -o requirements/run.txt
	@$(LOCK) pyproject.toml requirements/build.in -c requirements/dev.txt -o requirements/base.txt
	@for family in cpu gpu serving; do \
		$(LOCK) pyproject.toml --extra $$family-image -c requirements/dev.txt -o requirements/image-$$family.txt || exit 1; done
	@$(LOCK) pyproject.toml requirements/build.in --extra vertex -c requirements/dev.txt -o requirements/vertex.txt
	@$(LOCK) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	@$(LOCK) requirements/uv.in -o requirements/uv.txt
	@$(LOCK) $(UPGRADE) requirements/model-servers.in -o requirements/model-servers.txt

# --------------------------------------------------------------------------------------------------- use

.PHONY: run
run: $(VENV)/.run ## Run the flagship pipeline on this machine, then rehearse a bad canary
	@$(BIN)/stepworks run tabular_train_and_deploy --rehearse-roll-back

.PHONY: compile
compile: $(VENV)/.base ## Compile all pipelines to compiled/<pipeline>/<version>/<target>.yaml
	@$(BIN)/stepworks compile

.PHONY: compile-vertex
compile-vertex: $(VENV)/.base ## Compile all pipelines for Vertex AI, which needs Google Cloud's components (1 GB)
	@$(INSTALL) -r requirements/vertex.txt
	@$(BIN)/stepworks compile --target vertex

.PHONY: images
images: ## Build the images of the steps: make images REGISTRY=registry.example.com/team TAG=0.1.0 [PUSH=1]
	@images/build "$(REGISTRY)" "$(TAG)" $(if $(PUSH),--push)

.PHONY: dist
dist: $(VENV)/.dev ## Build the wheel and the sdist into dist/
	@$(BIN)/python -m build --no-isolation --outdir dist .

.PHONY: deploy
deploy: $(VENV)/.base ## Bring environments/ENV.yaml into its Kubeflow: make deploy ENV=dev
	@test -n "$(ENV)" || { echo "Usage: make deploy ENV=dev, for environments/dev.yaml"; exit 2; }
	@$(BIN)/stepworks compile --check
	@$(BIN)/stepworks release --check
	@$(BIN)/stepworks lint --quiet compiled
	@$(BIN)/stepworks deploy "$(ENV)"

# ----------------------------------------------------------------------------------------------- cluster
# A real control plane on this machine, without containers. NAME tells several apart.
CLUSTER := $(if $(NAME),--name "$(NAME)")

.PHONY: cluster-up
cluster-up: $(VENV)/.run ## Start a Kubernetes control plane here: make cluster-up [NAME=] [GENERATION=older] [SIMULATED=nodes]
	@$(BIN)/python -m testbed up $(CLUSTER) $(if $(GENERATION),--generation "$(GENERATION)") $(if $(SIMULATED),--simulated "$(SIMULATED)")

BED := .stepworks/clusters/$(or $(NAME),default)
.PHONY: run-cluster
run-cluster: cluster-up ## Run the flagship there as pods, to a model that KServe serves; a second run replaces it
	@$(BED)/kubectl apply -k testbed/team >/dev/null
	@KUBECONFIG=$(BED)/kubeconfig $(BIN)/stepworks run tabular_train_and_deploy --cluster \
		--targets testbed/targets --target testbed --namespace team \
		-p roll-out-canary.policy="$$(cat testbed/roll-out.json)"
	@echo "kubectl is $(BED)/kubectl here. Look around: $(BED)/kubectl -n team get inferenceservices,pods"
	@echo "Stop it all:  make cluster-down$(if $(NAME), NAME=$(NAME))"

.PHONY: cluster-down
cluster-down: $(VENV)/.run ## Stop it and delete all that it held: make cluster-down [NAME=]
	@$(BIN)/python -m testbed down $(CLUSTER)

.PHONY: cluster-build
cluster-build: $(VENV)/.run ## Build its programs into the cache; the first time takes about 17 minutes
	@$(BIN)/python -m testbed build

.PHONY: cluster-build-autoscaling
cluster-build-autoscaling: cluster-build ## Build KEDA and Prometheus Adapter, too, which takes about 25 minutes more
	@$(BIN)/python -m testbed build keda prometheus-adapter

.PHONY: cluster-build-gateway
cluster-build-gateway: cluster-build ## Build Traefik, too, which takes about 15 minutes more
	@$(BIN)/python -m testbed build traefik

.PHONY: cluster-build-knative
cluster-build-knative: cluster-build-gateway ## Build Knative Serving, too, which takes about 5 minutes more
	@$(BIN)/python -m testbed build knative

# ------------------------------------------------------------------------------------------------- check

# Two at a time: the tests of a file, or of a test bed, run one after the other.
WORKERS ?= 2

.PHONY: test
test: $(VENV)/.dev ## Run the tests, with the coverage gate
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --ignore tests/control_plane --ignore tests/model_servers \
		--ignore tests/autoscaling --ignore tests/gateway --ignore tests/knative \
		--cov --cov-report=term:skip-covered

.PHONY: test-long
test-long: $(VENV)/.dev cluster-build ## Run the tests that take minutes: a hundred kills of a training run, a thousand canaries, a thousand nodes
	@$(BIN)/python -m pytest -m long tests/training tests/canary tests/control_plane

.PHONY: test-control-plane
test-control-plane: $(VENV)/.dev cluster-build ## Run the tests on a real control plane (needs Go)
	@cd testbed/modules/process-node && CGO_ENABLED=0 GOWORK=off go test -trimpath ./...
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup tests/control_plane

# Servers that pin what the library does not, in an environment of their own; it takes about 5 GB.
$(VENV)/.model-servers: requirements/model-servers.txt $(VENV)/.dev
	@echo "Setting up: Triton, TorchServe and MLServer in .model-servers …"
	@rm -rf .model-servers && $(PYTHON) -m venv --without-pip .model-servers
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .model-servers/bin/python --require-hashes -r $< && touch $@

.PHONY: test-model-servers
test-model-servers: $(VENV)/.model-servers ## Serve packages on Triton, TorchServe (needs Java), MLServer and KServe's servers (need Go)
	@$(BIN)/python -m pytest tests/model_servers

.PHONY: test-autoscaling
test-autoscaling: $(VENV)/.dev cluster-build-autoscaling ## Scale what is served by the real KEDA and Prometheus Adapter (needs Go, root, Prometheus)
	@$(BIN)/python -m pytest tests/autoscaling

.PHONY: test-gateway
test-gateway: $(VENV)/.dev cluster-build-gateway ## Roll out behind a Gateway that Traefik runs (needs Go, root)
	@$(BIN)/python -m pytest tests/gateway

.PHONY: test-knative
test-knative: $(VENV)/.dev cluster-build-knative ## Roll versions out as revisions by the real KServe, Knative and Traefik (needs Go, root)
	@$(BIN)/python -m pytest tests/knative

.PHONY: check
check: $(VENV)/.dev ## Check style, types, dependencies, compiled files and generated pages
	@$(BIN)/ruff check stepworks components pipelines testbed tests benchmarks
	@$(BIN)/ruff format --check --quiet stepworks components pipelines testbed tests benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/stepworks compile --check
	@$(BIN)/stepworks release --check
	@$(BIN)/stepworks lint --quiet compiled
	@$(BIN)/python -m stepworks.kubeflow.readme --check components
	@$(BIN)/python -m stepworks.kubeflow.lint.documentation --check
	@$(BIN)/python -m stepworks.operations.roles --check

.PHONY: check-releases
check-releases: $(VENV)/.base ## See that nothing released has changed: make check-releases [AGAINST=origin/main]
	@$(BIN)/stepworks release --check $(if $(AGAINST),--against "$(AGAINST)")

.PHONY: compiled-diff
compiled-diff: $(VENV)/.base ## Say what changed in compiled/: make compiled-diff AGAINST=origin/main [OUTPUT=file.md]
	@test -n "$(AGAINST)" || { echo "Usage: make compiled-diff AGAINST=origin/main [OUTPUT=file.md]"; exit 2; }
	@earlier=$$(mktemp -d) && trap 'rm -rf "$$earlier"' EXIT && mkdir "$$earlier/compiled" \
		&& git rev-parse --verify --quiet "$(AGAINST)^{commit}" >/dev/null || { echo "Git does not know $(AGAINST)"; exit 2; } \
		&& if git cat-file -e "$(AGAINST):compiled" 2>/dev/null; then git archive "$(AGAINST)" compiled | tar -x -C "$$earlier"; fi \
		&& $(BIN)/stepworks diff "$$earlier/compiled" compiled --format $(if $(OUTPUT),markdown --output "$(OUTPUT)",text)

# The linter of GitHub workflows is a Go program; it is built once, outside of the checkout.
ACTIONLINT_VERSION := 1.7.7
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stepworks/tools
ACTIONLINT := $(TOOLS)/actionlint-$(ACTIONLINT_VERSION)/actionlint

$(ACTIONLINT):
	@command -v go >/dev/null || { echo "actionlint is built with Go, which is not installed. On Debian: apt install golang-go"; exit 2; }
	@GOBIN="$(@D)" GOFLAGS=-mod=mod go install github.com/rhysd/actionlint/cmd/actionlint@v$(ACTIONLINT_VERSION)

.PHONY: check-workflows
check-workflows: $(ACTIONLINT) ## Check the GitHub workflows (needs Go)
	@$(ACTIONLINT)

.PHONY: format
format: $(VENV)/.dev ## Format the code, mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet stepworks components pipelines testbed tests benchmarks
	@$(BIN)/ruff format stepworks components pipelines testbed tests benchmarks

.PHONY: docs
docs: $(VENV)/.base ## Write each component's README.md, the page of the lint rules and the Roles from the code
	@$(BIN)/python -m stepworks.kubeflow.readme components
	@$(BIN)/python -m stepworks.kubeflow.lint.documentation
	@$(BIN)/python -m stepworks.operations.roles

# ------------------------------------------------------------------------------------------- benchmarks

.PHONY: bench-overhead
bench-overhead: $(VENV)/.base ## Compare `stepworks run` with plain kfp.local
	@$(BIN)/python benchmarks/overhead.py

.PHONY: bench-compile
bench-compile: $(VENV)/.base ## Compare compiling everything with importing kfp
	@$(BIN)/python benchmarks/compile.py

.PHONY: bench-lint
bench-lint: $(VENV)/.base ## Compare lint and diff with loading the same YAML
	@$(BIN)/python benchmarks/lint.py

.PHONY: bench-train
bench-train: $(VENV)/.dev ## Compare our training loop with the barest one, and with those of others that are installed
	@$(BIN)/python -m benchmarks.train

.PHONY: bench-wait
bench-wait: $(VENV)/.run ## Compare a wait with reading every ten seconds, on a control plane (needs Go)
	@$(BIN)/python -m benchmarks.wait

.PHONY: bench-ready
bench-ready: $(VENV)/.dev ## Compare the end of a deployment with the wait of KServe's client, on a control plane (needs Go)
	@$(BIN)/python -W ignore -m benchmarks.ready

.PHONY: bench-preflight
bench-preflight: $(VENV)/.run ## Time pre-flight on 1,000 simulated nodes with 5,000 pods (needs Go)
	@$(BIN)/python -m benchmarks.preflight

.PHONY: bench-predictor
bench-predictor: $(VENV)/.dev ## Compare our model server with a bare loop of ONNX Runtime and with KServe's server (needs Go)
	@$(BIN)/python -W ignore -m benchmarks.predictor

.PHONY: bench-canary
bench-canary: $(VENV)/.run ## Compare how soon a worse canary is found, and a good one wrongly, with a fixed threshold
	@$(BIN)/python -m benchmarks.canary

.PHONY: bench-flagship
bench-flagship: $(VENV)/.run ## Time the flagship's run and say where the time goes
	@$(BIN)/python benchmarks/flagship.py

# ---------------------------------------------------------------------------------------------- clean-up

.PHONY: clean
clean: ## Delete runs, caches and builds; the environment and the local registry stay
	@rm -rf .stepworks/runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache htmlcov .coverage .coverage.*
