# Model Deployment and Production. `make` alone lists what there is.
.DEFAULT_GOAL := help
.PHONY: help setup images images-save images-load test down status notebook doctor labs lock prove-% lab-% up-% \
	release grade demo-class environment

PY := .venv/bin/python
RUNTIME ?= auto
FILE ?= images.tar
MODULE ?= 01

help: ## this list
	@grep -E '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/%/01/; s/:.*## /\t/' | expand -t 16

setup: ## make the environment in .venv, and nothing else
	@sh scripts/setup.sh

lab-%: setup ## grade labs/lab-01-…; SUBMISSION=folder grades another, SEED=n repeats a run
	@$(PY) -m autograder grade lab-$* $(SUBMISSION) --runtime $(RUNTIME) \
		$(if $(SEED),--seed $(SEED)) $(if $(OUT),--out $(OUT)) $(if $(VISIBLE),--visible)

up-%: setup ## start the lab's services on the standard ports, to play with
	@$(PY) -m autograder up lab-$* --runtime $(RUNTIME) $(if $(SUBMISSION),--submission $(SUBMISSION))

down: setup ## stop them
	@$(PY) -m autograder down

status: setup ## what is up
	@$(PY) -m autograder status

notebook: setup ## open module 1 in JupyterLab; MODULE=02 opens another
	@.venv/bin/jupyter lab $(or $(firstword $(wildcard modules/$(MODULE)-*/*.ipynb)),$(error there is no module $(MODULE)))

images: setup ## fetch or build what RUNTIME=docker runs on
	@$(PY) -m autograder images build

images-save: setup ## put all images into one file, FILE=images.tar
	@$(PY) -m autograder images save $(FILE)

images-load: setup ## take them from that file, without a network
	@$(PY) -m autograder images load $(FILE)

doctor: ## look at this machine, and say what mends it
	@$(if $(wildcard $(PY)),$(PY),python3) -m autograder.doctor

release: setup ## what students get, in release/lab-01; LAB=01 for one lab
	@$(PY) -m autograder release $(LAB)

grade: setup ## grade all of submitted/ for LAB=01, J=n at a time; SCHEDULER=tcp://… on a Dask cluster
	@$(PY) -m autograder class $(or $(LAB),$(error Which lab? `make grade LAB=01`)) --runtime $(RUNTIME) \
		$(if $(J),-j $(J)) $(if $(SCHEDULER),--scheduler $(SCHEDULER))

demo-class: setup ## grade a class of made-up students, to see how it goes; LAB=02 for the one of lab 02
	@$(PY) -m tests.classroom.demo $(if $(LAB),--lab lab-$(LAB)) $(if $(J),-j $(J))

test: setup ## prove the project: every test that this machine can run
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m pytest -n 2 --dist worksteal

prove-%: setup ## grade every planted fault of a lab; show which check finds which
	@$(PY) -m autograder prove lab-$* --runtime $(RUNTIME)

labs: setup ## make labs/ anew from solutions/
	@$(PY) -m autograder labs

environment: setup ## write environment.yml anew from requirements.lock
	@$(PY) -m autograder.classroom.environment

lock: ## write requirements.lock anew (needs uv)
	@uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make lock" --quiet -o requirements.lock
