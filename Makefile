# Two commands do all the set-up on a bare Debian 12: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
BIN    := $(VENV)/bin

# What the tests need beyond Python: a C++ compiler for the bundle's C++ program, `file` to look at
# engines, an emulator to run those for the Raspberry Pi, and a simulator of FPGA designs.
TOOLS  := g++ file qemu-aarch64-static verilator
APT    := g++ file qemu-user-static verilator

.PHONY: demo test bitstreams layouts lint bench clean system

demo: $(VENV)/.demo
	$(BIN)/tapeout compile examples/digits_cnn.onnx --device host \
	    --eval examples/digits.npz:test --force -o build/digits.bundle
	$(BIN)/tapeout run build/digits.bundle --input examples/digits.npz:test -o build/logits.npz
	$(BIN)/tapeout verify build/digits.bundle --data examples/digits.npz:test
	$(BIN)/tapeout bench build/digits.bundle

test: system $(VENV)/.test
	$(BIN)/python -m tapeout.targets.tvm.root
	$(BIN)/python tests/tflite_root.py
	$(BIN)/pytest -n $(JOBS) -m 'not bitstream and not layout'

# Synthesis, place and route take minutes for each design, a quarter of an hour for the largest.
bitstreams: system $(VENV)/.test
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m bitstream tests/targets/fpga

layouts: system $(VENV)/.test
	$(BIN)/pytest -n $(JOBS) -m layout tests/targets/fpga

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build/typed build/lib build/bdist.*
	$(BIN)/pip install --quiet --no-deps --target build/typed .
	cd build && MYPYPATH=typed ../$(BIN)/mypy -p tapeout

bench: $(VENV)/.test
	$(BIN)/python benchmarks/cpu.py > benchmarks/results/cpu.md
	$(BIN)/python benchmarks/startup.py > benchmarks/results/startup.md
	$(BIN)/python benchmarks/instructions.py > benchmarks/results/instructions.md
	$(BIN)/python benchmarks/tuning.py > benchmarks/results/tuning.md
	$(BIN)/python benchmarks/quantization.py -o benchmarks/results/quantization.md
	$(BIN)/python benchmarks/mobile.py -o benchmarks/results/mobile.md
	$(BIN)/python benchmarks/gpu.py -o benchmarks/results/gpu.md
	$(BIN)/python benchmarks/gpu_engines.py -o benchmarks/results/gpu_engines.md

# The packages of Debian that are missing are installed when root, and named otherwise.
define install
	@if [ "$$(id -u)" = 0 ]; then apt-get update -qq && apt-get install -y -qq $(1); \
	else echo "missing: run  sudo apt-get install $(1)" >&2; exit 5; fi
endef

system:
	@for tool in $(TOOLS); do command -v $$tool >/dev/null || exit 1; done \
	    || $(MAKE) --no-print-directory system-install

.PHONY: system-install python-install
system-install:
	$(call install,$(APT))

python-install:
	$(call install,python3-venv)

$(VENV)/.python:
	@$(PYTHON) -c 'import ensurepip' || $(MAKE) --no-print-directory python-install
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(BIN)/pip install --quiet --editable '.[cpu,mobile]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[all,dev]'
	touch $@

clean:
	rm -rf build $(VENV)
