"""Microcontrollers with an Arm Ethos-U NPU: our int8 files, compiled by Arm's Vela."""
