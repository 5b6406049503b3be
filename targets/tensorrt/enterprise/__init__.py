"""TensorRT for data-centre cards and Jetson: prepared here, built on the device."""
