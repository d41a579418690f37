.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
SEED ?= 0

help:
	@true
