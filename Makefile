# Python >= 3.11 and make are all that is needed: everything else comes from pip, into .venv.
# PYTHON=python3.13 makes the environment with another interpreter (after `make clean`).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Packages are installed again when what is needed has changed.
STAMPS := $(VENV)/.stamps
# Processes that share the tests, a file at a time; each has a Redis of its own. 0: no others, for a debugger.
WORKERS ?= 2
SHARED := -n $(WORKERS) --dist loadfile
# Where it is set, each process compiles all tests anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help packages demo walk services test test-slow compat browser screenshots chaos coverage lint format messages reference docs bench bench-quick dist sbom clean

help:
	@echo 'make demo         a small site and its API, with a real Redis of its own'
	@echo 'make walk         the story of the demo over HTTP, while it runs'
	@echo 'make services     a Django project, and services in FastAPI and Node that honour its revocations'
	@echo 'make test         the default suite, against real Redis servers that it starts'
	@echo 'make test-slow    the suites that take longer'
	@echo 'make compat       what meets Django, DRF and clients, with the oldest of them and with the newest'
	@echo 'make browser      the demo in a real browser: Chromium has to be there'
	@echo 'make chaos        servers and workers broken on purpose: does a revoked token ever work again?'
	@echo 'make coverage     both, with what they do not reach'
	@echo 'make lint         ruff, mypy, the import contract, the workflows and forms by their schemas'
	@echo 'make docs         the documentation as a site, in docs/_build/html; each warning is an error'
	@echo 'make reference    what the reference says of the code, from the code'
	@echo 'make messages     the catalogues from the sources; gettext has to be there'
	@echo 'make bench        the measurements behind the figures in the README'
	@echo 'make dist         sdist and wheel of what is committed, into dist/, checked'
	@echo 'make sbom         the same, and what comes along with the wheel: CycloneDX, into build/'
	@echo 'make clean        remove the environment and what the tools have left'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'jwt_redis needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ...'; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo 'No venv for $(PYTHON): on Debian and Ubuntu it is the package python3-venv.'; exit 1; }

# One for each dependency group: the demo does not wait for what only the tests need.
$(STAMPS)/%: pyproject.toml | $(BIN)/python
	@echo 'Installing what `$*` needs into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group $*
	@mkdir -p $(STAMPS) && touch $@

# All of them by one look at the index. For who runs several targets at once: each would install into the environment.
packages: INSTALLED := test dev docs browser bench release
packages: pyproject.toml | $(BIN)/python
	@echo 'Installing what tests, documentation, benchmarks and releases need into $(VENV) ...'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . $(INSTALLED:%=--group %)
	@mkdir -p $(STAMPS) && touch $(INSTALLED:%=$(STAMPS)/%)

# `exec`, so that Ctrl-C and kill reach it directly.
demo: $(STAMPS)/demo
	@exec $(BIN)/python example_project/demo.py

walk: $(STAMPS)/demo
	@$(BIN)/python example_project/manage.py demo_walk

services: $(STAMPS)/services
	@exec $(BIN)/python examples/run.py

# Schemathesis gives an operation's tests the id of all the others, of which pytest-xdist would run one.
ONE_BY_ONE := tests/test_schemathesis.py

test: $(STAMPS)/test
	$(BIN)/python -m pytest $(SHARED) -m 'not slow and not browser' --ignore $(ONE_BY_ONE)
	$(BIN)/python -m pytest -m 'not slow and not browser' $(ONE_BY_ONE)

test-slow: $(STAMPS)/test
	$(BIN)/python -m pytest $(SHARED) -m 'slow and not browser' --ignore $(ONE_BY_ONE)
	$(BIN)/python -m pytest -m 'slow and not browser' $(ONE_BY_ONE)

# Each of them alone: $(BIN)/tox run -e py312-django60-drf318. An interpreter that is not there is left out; pyenv's are found.
ESSENTIAL := views serializers sessions authentication permissions async conf checks cookies receivers commands admin \
  admin_users djoser
compat: $(STAMPS)/dev
	PATH="$$PATH$$(printf ':%s' ~/.pyenv/versions/*/bin)" $(BIN)/tox run -e lowest,py313-django61-drf318 -- -q -m 'not slow' $(ESSENTIAL:%=tests/test_%.py)

browser: $(STAMPS)/browser
	$(BIN)/python -m pytest -m browser tests/browser

# The pictures in the documentation.
screenshots: $(STAMPS)/browser
	JWT_REDIS_SCREENSHOTS=docs/images/browser $(BIN)/python -m pytest -m browser tests/browser/test_admin_pages.py tests/browser/test_pages.py -k who_is

chaos: $(STAMPS)/test
	$(BIN)/python -m tests.chaos

coverage: $(STAMPS)/test
	$(BIN)/python -m coverage erase
	COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml $(BIN)/python -m coverage run -m pytest -m 'not browser'
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lint: $(STAMPS)/dev
	$(BIN)/python -m check_jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/python -m check_jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/python -m check_jsonschema --quiet --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/python -m check_jsonschema --quiet --builtin-schema vendor.github-issue-forms \
	  $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMPS)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# makemessages does not look into locale/, hence the copy. Without the date, so that what has not changed does not differ.
messages: LOCALES = $(patsubst jwt_redis/locale/%/LC_MESSAGES,-l %,$(wildcard jwt_redis/locale/*/LC_MESSAGES))
messages: $(STAMPS)/dev
	@cp jwt_redis/locale/simplejwt.txt jwt_redis/simplejwt.txt
	@cd jwt_redis && { ../$(BIN)/django-admin makemessages $(LOCALES) --no-wrap --no-obsolete --add-location file; \
	  status=$$?; rm -f simplejwt.txt; exit $$status; }
	@find jwt_redis/locale -name '*.po' -exec sed -i.old '/^"POT-Creation-Date:/d' {} +
	@find jwt_redis/locale -name '*.po.old' -delete
	@cd jwt_redis && ../$(BIN)/django-admin compilemessages

# What it has of the code's own words is made by `make reference`, which a test compares.
docs: $(STAMPS)/docs
	$(BIN)/python docs/make_reference.py --check
	$(BIN)/python -m sphinx --nitpicky --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo 'docs/_build/html/index.html'

reference: $(STAMPS)/docs
	$(BIN)/python docs/make_reference.py

bench: $(STAMPS)/bench
	$(BIN)/python -m benchmarks

bench-quick: $(STAMPS)/bench
	$(BIN)/python -m benchmarks --quick

# Of what is committed, whatever else lies around. The same commit gives the same bytes: no other clock is looked at.
dist: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
dist: $(STAMPS)/release
	@rm -rf dist build/tree && mkdir -p build/tree
	@git archive HEAD | tar -x -C build/tree
	$(BIN)/python -m build --outdir dist build/tree
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m check_wheel_contents dist/*.whl

# In an environment with nothing but the wheel and what it asks for. Where the version is, cyclonedx-py does not look.
sbom: VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"$$/\1/p' jwt_redis/__init__.py)
sbom: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
sbom: dist
	@rm -rf build/alone && $(BIN)/python -m venv --without-pip build/alone
	$(BIN)/python -m pip --python build/alone/bin/python install --quiet --disable-pip-version-check dist/*.whl
	@sed 's/^dynamic = .*/version = "$(VERSION)"/' pyproject.toml > build/named.toml
	$(BIN)/python -m cyclonedx_py environment build/alone/bin/python --pyproject build/named.toml --mc-type library \
	  --output-reproducible --output-format JSON --output-file build/jwt_redis.cdx.json

clean:
	rm -rf $(VENV) .tox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov build dist docs/_build
