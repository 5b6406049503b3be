# Two commands do all the set-up on a bare Debian 12: `make demo` and `make test`.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2

.PHONY: demo test lint setup setup-dev apt qemu-root bench clean

demo: setup
	$(BIN)/tapeout compile examples/digits_cnn.onnx --device host -o build/digits.bundle \
		--eval examples/digits.npz:test --force
	$(BIN)/tapeout run build/digits.bundle --input examples/digits.npz:test -o build/logits.npz
	$(BIN)/tapeout verify build/digits.bundle --data examples/digits.npz:test
	$(BIN)/tapeout bench build/digits.bundle

test: setup-dev apt qemu-root
	$(BIN)/pytest -n $(JOBS)

