"""Phones and boards: TFLite, written directly."""
