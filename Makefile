# Chores. The pipeline itself is the task graph of dodo.py: `.venv/bin/doit list`.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo nightly sentinel rules docs images test lint types unit slow bench lock release clean

VENV := .venv
PYTHON := /usr/bin/python3
# libguestfs's bindings come from Debian, so the environment is of Debian's own Python.
ARCH := $(shell dpkg --print-architecture)
QEMU := $(if $(filter arm64,$(ARCH)),qemu-system-arm,qemu-system-x86)
PACKAGES := python3-venv python3-guestfs libguestfs-tools supermin $(QEMU) qemu-utils \
    linux-image-cloud-$(ARCH) mmdebstrap uidmap fakeroot mtools dosfstools e2fsprogs fdisk gdisk xz-utils zstd \
    gzip bmap-tools gpgv minisign openssh-client ovmf
DOCS_PACKAGES := graphviz
# Most of them are programs that read on a node what we write.
TEST_PACKAGES := age arch-test bash binfmt-support buildah curl dash dbus-daemon etcd-client fuse3 gnupg graphviz iproute2 \
    libnbd-bin nbdkit nbdkit-plugin-python netplan.io openssl python3-prometheus-client qemu-system-arm \
    qemu-system-x86 qemu-user-static shellcheck strace sudo systemd udev umockdev user-mode-linux wget xfsprogs
BENCH_PACKAGES := ninja-build pixz
# These would change how a machine starts or who can reach it. Where they are missing, and CI is not set, the tests
# that need them are skipped.
ifdef CI
TEST_PACKAGES += cloud-init docker-registry etcd-server network-manager nginx-light openssh-server prometheus \
    prometheus-node-exporter prometheus-pushgateway
# A browser is large, and a desk has one that people use.
TEST_PACKAGES += chromium
endif

SENTINEL := artifacts/metis-sentinel.pyz
DIST := dist
TRIAL := $(DIST)/.venv

# Each worker of each run of tests would compile all tests anew, which takes longer than to read them.
unexport PYTHONDONTWRITEBYTECODE

# Tests run side by side, a file on each worker; what is measured is measured alone. They wait for disks, servers and
# machines too: one worker more than there are cores has something to do meanwhile. What takes longest begins first:
# begun last, it would leave the other cores idle.
WORKERS := --numprocesses $(shell echo $$(($$(nproc) + 1))) --maxprocesses 5 --dist loadfile --no-loadscope-reorder
# By this name each worker loads the plugin before it loads Metis, so that imports count as covered.
PYTEST := PYTEST_PLUGINS=tests.support.ci_figures $(VENV)/bin/pytest --durations 15 --durations-min 1

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## Install what Metis needs: Debian packages (as root or through sudo) and .venv
	@$(call install,$(PACKAGES))

demo: setup ## Build a bootable image of the demo node from real Debian packages
	@$(VENV)/bin/metis image --node demo-1

nightly: setup ## Rebuild the images that are not up to date, and report; for a timer, see deploy/
	@$(VENV)/bin/metis nightly

sentinel: ## Make one file that reads facts wherever a node has Python: artifacts/metis-sentinel.pyz
	@install -d -m 0700 artifacts
	@stage=$$(mktemp -d); trap 'rm -rf "$$stage"' EXIT; \
	cp -r metis_sentinel "$$stage" && rm -rf "$$stage"/metis_sentinel/__pycache__; \
	$(PYTHON) -m zipapp "$$stage" --compress --main metis_sentinel.__main__:main \
	    --python "/usr/bin/env python3" --output $(SENTINEL)

RULES := deploy/kubernetes/monitoring/rules.yaml
rules: ## Make the alerts for the Prometheus Operator of deploy/monitoring/metis.rules.yaml
	@sed -i '/^spec:/q' $(RULES)
	@sed -n '/^groups:/,$$ { s/^./  &/; p }' deploy/monitoring/metis.rules.yaml >>$(RULES)

docs: setup ## Make the documentation as a site: site/index.html
	@$(call install,$(DOCS_PACKAGES))
	@$(VENV)/bin/python -m sphinx --fail-on-warning --keep-going --quiet --fresh-env docs site

# Containers are built for this machine, and for the other architecture where its programs run here too (binfmt).
ARCHES := $(ARCH) $(if $(wildcard /proc/sys/fs/binfmt_misc/qemu-$(if $(filter arm64,$(ARCH)),x86_64,aarch64)),\
    $(if $(filter arm64,$(ARCH)),amd64,arm64))
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

images: ## Build the containers metis and metis-sentinel with buildah or docker, see docs/containers.md
	@builder=$$(command -v buildah || command -v docker) \
	    || { echo "buildah and docker are missing: install one of them" >&2; exit 1; }; \
	for arch in $(ARCHES); do for name in metis metis-sentinel; do \
	    BUILDAH_FORMAT=docker "$$builder" build --platform "linux/$$arch" --file deploy/containers/$$name/Containerfile \
	        --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) $(IMAGE_FLAGS) \
	        --tag $$name:$(VERSION)-$$arch .; \
	done; done

test: lint types unit slow ## Everything that CI runs

lint: setup ## Check style
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: setup ## Check types
	@$(VENV)/bin/mypy

unit: setup ## Run the quick tests
	@$(call install,$(TEST_PACKAGES))
	@$(PYTEST) --suite quick --measure-coverage -m "not slow" $(WORKERS)

slow: setup ## Run the tests that build goldens, start the appliance or boot a machine
	@$(call install,$(TEST_PACKAGES))
	@$(PYTEST) --suite slow -m slow tests/machine tests/integration tests/unit $(WORKERS)
	@$(PYTEST) --suite benchmarks -m slow tests/benchmarks

bench: setup ## Compare with peers doing the same work, side by side
	@$(call install,$(TEST_PACKAGES) $(BENCH_PACKAGES))
	@$(VENV)/bin/python -m benchmarks

COMPILE := $(VENV)/bin/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
lock: setup ## Lock the Python dependencies anew
	@$(VENV)/bin/pip install --quiet pip-tools
	@$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	@$(COMPILE) --output-file release.lock release.in

# What is tried has been installed from the locked packages alone, and those were held to their hashes. The bill of
# materials is what the environment has then; only afterwards does it see Debian's packages, for libguestfs.
release: setup ## Build, check and try what is published: dist/
	@rm -rf $(DIST)
	@export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct); work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	$(VENV)/bin/python -m build --no-isolation --outdir $(DIST); \
	$(VENV)/bin/python -m twine check --strict $(DIST)/*; \
	export PIP_DISABLE_PIP_VERSION_CHECK=1; \
	$(VENV)/bin/pip download -qq --no-deps --require-hashes --requirement requirements.lock --dest "$$work/locked"; \
	$(PYTHON) -m venv --without-pip $(TRIAL); \
	$(VENV)/bin/pip --python $(TRIAL)/bin/python install -qq --no-compile --no-index --find-links "$$work/locked" \
	    $(DIST)/*.whl; \
	$(PYTHON) -m venv --without-pip "$$work/tools"; \
	$(VENV)/bin/pip --python "$$work/tools/bin/python" install -qq --no-compile --require-hashes \
	    --requirement release.lock; \
	"$$work/tools/bin/python" -m cyclonedx_py environment --pyproject pyproject.toml --mc-type application \
	    --validate --output-reproducible --output-file $(DIST)/$$(basename $(DIST)/*.tar.gz .tar.gz).cdx.json $(TRIAL); \
	$(PYTHON) -m venv --without-pip --system-site-packages $(TRIAL); \
	export PATH=$$(realpath $(TRIAL))/bin:$$PATH; cd "$$work"; \
	python -c 'import guestfs'; metis --version; metis init lab; cd lab; doit list; metis-sentinel >/dev/null

clean: ## Remove the environment and the caches of tools; artifacts stay
	@rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(call install,$(PACKAGES))
	@echo "making $(VENV)"
	@$(PYTHON) -m venv --system-site-packages --clear $(VENV)
	@$(VENV)/bin/pip install -qq --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(VENV)/bin/pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Install the Debian packages that are missing; says nothing and takes no time where none is.
define install
	missing=$$(comm -13 <(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' | sed -n 's/^installed //p' | sort -u) \
	    <(printf '%s\n' $(1) | sort -u)); \
	if [ -n "$$missing" ]; then \
	    as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	    log=$$(mktemp); \
	    echo "installing" $$missing; \
	    { $$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive \
	        apt-get install --yes --no-install-recommends $$missing; } >"$$log" 2>&1 \
	        || { tail -n 20 "$$log" >&2; exit 1; }; \
	    rm -f "$$log"; \
	fi
endef
