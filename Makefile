# `make help` prints what there is to make: every target with its `##` sentence.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
# The uv on the PATH if it is this version, else one of our own in .tools: no root, and nothing outside of the clone.
UV := $(shell uv --version 2>/dev/null | grep -q '^uv $(UV_VERSION)\b' && command -v uv || echo .tools/bin/uv)
RUN := .venv/bin
PYTEST_ARGS ?=

.PHONY: help
help: ## Print this help.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.tools/bin/uv:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Longshore needs Python 3.11 or newer as python3'; exit 1; }
	@python3 -m venv .tools \
	  || { echo 'python3 can make no environments here: install its venv module (Debian: apt install python3-venv)'; exit 1; }
	@.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.PHONY: demo
demo: $(UV) ## Make thumbnails of real videos on this machine, and a page to look at them.
	@$(UV) sync --quiet --frozen --inexact --no-default-groups --group demo
	@$(RUN)/python examples/01-thumbnails/fetch_videos.py
	@$(RUN)/longshore run examples/01-thumbnails/queue.yaml --until-done
	@$(RUN)/python examples/01-thumbnails/contact_sheet.py

.PHONY: env
env: $(UV) ## Make the environment for development, exactly as locked.
	@$(UV) sync --quiet --frozen

# What the cluster of the tests is made of; Go 1.26 or newer builds the rest of it.
CLUSTER_PACKAGES := etcd-server containerd runc containernetworking-plugins iptables nftables docker.io debootstrap \
  iproute2 openssl gcc libc6-dev

.PHONY: cluster-tools
cluster-tools: ## Install what a cluster of its own needs: Debian, as root.
	@dpkg -s $(CLUSTER_PACKAGES) >/dev/null 2>&1 || { apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $(CLUSTER_PACKAGES) >/dev/null; }

# What the tests of sources run: a Redis, and Java with Maven for Kafka; the S3 server comes in a wheel. And the browser
# that looks at the status page, the shells that read their completion, and jq for a worker in a shell.
#
# Of the package prometheus only the two programs are taken: installed, it would start a daemon.
SERVER_PACKAGES := redis-server openjdk-17-jre-headless maven chromium zsh fish jq

.PHONY: test-servers
test-servers: ## Install the servers that sources are tested on: Debian, as root.
	@dpkg -s $(SERVER_PACKAGES) >/dev/null 2>&1 || { apt-get -qq update && RUNLEVEL=1 \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $(SERVER_PACKAGES) >/dev/null; }
	@{ command -v promtool && command -v prometheus; } >/dev/null || { apt-get -qq update && cd "$$(mktemp -d)" && \
	  apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb \
	  | tar -x -C /usr/local/bin --strip-components=3 ./usr/bin/promtool ./usr/bin/prometheus; }
	@command -v node >/dev/null || apt-get -qq install --yes --no-install-recommends nodejs >/dev/null

.PHONY: cluster-up
cluster-up: env ## Start a real Kubernetes on this machine, and print its KUBECONFIG.
	@PYTHONPATH=tests $(RUN)/python -m support.cluster.cluster up

.PHONY: cluster-down
cluster-down: env ## Stop it.
	@PYTHONPATH=tests $(RUN)/python -m support.cluster.cluster down

IMAGES := manager ambassador-nfs ambassador-s3 ambassador-redis ambassador-kafka worker-ffmpeg worker-script multi-worker
REGISTRY ?=
TAG ?= 0.1.0
BASE_IMAGE ?= python:3.13-slim-trixie
IMAGE_PREFIX = $(if $(REGISTRY),$(REGISTRY)/)longshore/

.PHONY: images
images: ## Build all images: REGISTRY= TAG= BASE_IMAGE= DOCKER_ARGS= (arguments of docker build).
	@for name in $(IMAGES); do \
	  DOCKER_BUILDKIT=1 docker build --quiet $(DOCKER_ARGS) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(TAG) \
	    --file images/$$name/Dockerfile --tag $(IMAGE_PREFIX)$$name:$(TAG) . >/dev/null; \
	  docker image inspect --format '{{index .RepoTags 0}} {{.Size}}' $(IMAGE_PREFIX)$$name:$(TAG) \
	    | awk '{ printf "%-48s %5.0f MB\n", $$1, $$2 / 1e6 }'; \
	done

.PHONY: push
push: ## Push them: REGISTRY= TAG=
	@for name in $(IMAGES); do docker push --quiet $(IMAGE_PREFIX)$$name:$(TAG); done

# Tests of a cluster and of Docker wait more than they work: a lane for each (tests/conftest.py), and one for the rest.
SIDE_BY_SIDE := --numprocesses=3 --no-loadscope-reorder

.PHONY: test
test: env check $(if $(filter true,$(CI)),cluster-tools test-servers) ## Everything: formatting, lint, types, import contracts, then every test.
	@$(RUN)/pytest $(SIDE_BY_SIDE) $(PYTEST_ARGS)

.PHONY: test-fast
test-fast: env ## The tests that take less than ten seconds each.
	@$(RUN)/pytest -m 'not slow' $(PYTEST_ARGS)

.PHONY: check
check: env ## Formatting, lint, types, import contracts and the lock; changes nothing.
	@$(UV) lock --check --quiet
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/ruff check --quiet .
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo

.PHONY: format
format: env ## Format, sort imports, and mend what lint can mend.
	@$(RUN)/ruff check --fix --quiet .
	@$(RUN)/ruff format --quiet .

.PHONY: clean
clean: ## Remove what the demo made, and caches; the environment stays.
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@rm -rf examples/*/.longshore examples/*/videos examples/*/thumbs examples/*/results
