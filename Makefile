# Two commands do all the set-up on a bare Debian 12: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
BIN    := $(VENV)/bin

# What the tests need beyond Python: a C++ compiler for the bundle's C++ program, `file`, and an
# emulator for the Raspberry Pi bundles.
APT    := g++ file qemu-user-static

.PHONY: demo test lint bench clean

demo: $(VENV)/.demo
	$(BIN)/tapeout compile examples/digits_cnn.onnx --device host \
	    --eval examples/digits.npz:test --force -o build/digits.bundle
	$(BIN)/tapeout run build/digits.bundle --input examples/digits.npz:test -o build/logits.npz
	$(BIN)/tapeout verify build/digits.bundle --data examples/digits.npz:test
	$(BIN)/tapeout bench build/digits.bundle

test: $(VENV)/.test
	$(BIN)/python -m tapeout.targets.tvm.root
	$(BIN)/pytest -n $(JOBS)

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build/typed build/lib build/bdist.* && $(BIN)/pip install --quiet --no-deps --target build/typed .
	cd build && MYPYPATH=typed ../$(BIN)/mypy -p tapeout

bench: $(VENV)/.test
	$(BIN)/python benchmarks/cpu.py

$(VENV)/.apt:
	@test -x $(VENV)/bin/pip || $(PYTHON) -c 'import ensurepip' 2>/dev/null \
	    || (test "$$(id -u)" = 0 && apt-get update && apt-get install -y python3-venv) \
	    || (echo "install python3-venv first: sudo apt-get install python3-venv"; exit 5)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.demo: $(VENV)/.apt pyproject.toml
	$(BIN)/pip install --quiet --editable '.[cpu]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/pip install --quiet --editable '.[all,dev]'
	touch $@

clean:
	rm -rf build $(VENV)
