# Entry point of everything. `make demo` shows it working, `make check` proves it.
#
# Read in two passes. In the first, on a machine that may have nothing yet, each target installs what it
# misses (scripts/deps) and then calls make again; in the second (BUILD=1) PGXS builds the extension and
# CMake the programs, under a lock, because several people or tests may share one checkout.

# The SQL sources in the order in which they make up the extension's script.
SQL_PARTS = schema providers organizations keys credential_fields credentials messages jobs limits fallback verification triggers enqueue \
            lanes claim outcome calls call_outcomes webhooks webhook_triggers calendar_events calendar_triggers commands resend reconcile settle \
            receipts inbound oauth audit maintenance health monitoring credential_views views call_health calendar_views api api_messages \
            availability check key_rotation distribute coordinator privileges

EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" extension/pg_byoc.control)
PG_CONFIG  ?= $(CURDIR)/scripts/pg-config
FUZZ_TARGETS = envelope keyring token jwt template
PREFIX     ?= /usr/local#   byocd goes to $(PREFIX)/bin, the extension where pg_config says
STAGE       = $(CURDIR)/build/stage#   what tests and demo run: an installation inside the checkout

ifndef BUILD
# ---- First pass: what to do ----------------------------------------------------------------------------

.NOTPARALLEL:
.DEFAULT_GOAL := all

build = @mkdir -p build && flock build/.lock $(MAKE) -s --no-print-directory -j$(shell nproc) BUILD=1

.PHONY: deps packages npm chromium all install uninstall clean stage demo demo-stop installcheck check \
        check-version check-pgtap check-unit check-e2e check-browser check-faults check-attacks check-asan check-tsan check-valgrind \
        check-upgrade check-failover check-citus check-service check-dist check-deb check-versions campaign soak dist deb bench fuzz fuzz-api reference \
        upgrade-scripts format

# Everything that any target below installs by itself, once it needs it; but not what the slow ones need.
deps: packages npm chromium
	@node scripts/npm.mjs tests/browser build/npm/browser
	@node scripts/npm.mjs tests/e2e/twilio build/npm/twilio
	@node scripts/npm.mjs tests/e2e/google build/npm/google
	@node scripts/npm.mjs tests/browser/oidc build/npm/oidc

packages:
	@scripts/deps

# Node.js packages that tests use come from npm, the browser from Debian.
npm:
	@command -v npm >/dev/null || scripts/deps npm
chromium:
	@scripts/deps chromium fonts-dejavu-core

all: packages
	$(build) all

# As an ordinary user only the copying into the system's folders is done by sudo, and only if it is needed.
install uninstall: all
	@if [ -n "$(DESTDIR)" ] || [ -w "$$($(PG_CONFIG) --pkglibdir)" ]; then sudo=; else sudo=sudo; fi; \
	$$sudo $(MAKE) --no-print-directory BUILD=1 $@

# The demo does not make a newcomer wait for unit tests to compile.
PROGRAMS = all
demo: PROGRAMS = byocd simulator
stage: packages
	$(build) install DESTDIR=$(STAGE) CMAKE_TARGET="$(PROGRAMS)"

# DEMO=name keeps another one up, beside the first.
DEMO = demo
demo: stage
	@node demo/run.mjs $(if $(filter-out 0,$(KEEP)),--keep=$(DEMO))

demo-stop:
	@scripts/stop-leftovers $(DEMO)
	@rm -f build/$(DEMO).env

check: stage npm chromium
	@scripts/check version pgtap unit e2e browser faults attacks asan

check-e2e check-asan check-tsan check-browser: npm
check-browser: chromium#   screenshots are kept in build/screenshots
check-version check-pgtap check-unit check-e2e check-browser check-faults check-attacks check-asan: check-%: stage
	@scripts/check $*

# Slow, so not part of `check`: data races, and memory under valgrind.
check-tsan: stage
	@scripts/check tsan
check-valgrind: stage
	@scripts/deps valgrind
	@scripts/check valgrind

# The end-to-end test of upgrades with each release as it was, library and byocd too; these are built once.
check-upgrade: stage
	@scripts/build-releases
	@scripts/check upgrade

# What is released, made of the last commit: a zip for PGXN and Debian packages. The same commit gives the same bytes.
dist:
	@scripts/make-dist
deb: packages
	@scripts/deps debhelper
	@scripts/make-deb
check-dist: packages
	@scripts/deps pgxnclient unzip
	@scripts/check dist
check-deb: packages#   as root: it installs and runs the packages in a Debian of their own
	@scripts/deps debhelper lintian
	$(build) byocd CMAKE_TARGET=simulator
	@scripts/check deb

# Every supported PostgreSQL, each in a Debian of its own: SUITES='trixie forky' for some of them.
check-versions:
	@scripts/check-versions $(SUITES)

# check-faults, large: about half an hour. SEED=... repeats what was done; how it interleaves never repeats.
campaign: export MESSAGES ?= 50000
campaign: export KILLS ?= 200
campaign: export RESTARTS ?= 20
campaign: export PATIENT ?= 1
campaign: stage
	@scripts/check faults

# A Citus coordinator and two workers; CITUS_DIR names a Citus that is not installed (the DESTDIR of its `make install`).
check-citus: stage
	@E2E=citus scripts/check e2e

# Patroni, etcd and three nodes on loopback: kills, a switchover, a primary that stands still.
check-failover: stage
	@scripts/deps python3-etcd python3-psycopg2
	@scripts/check failover

# byocd's unit under a systemd of its own, as root: start, reload, watchdog, stop.
check-service: stage
	@reason=$$(tests/service/boot --try 2>&1) || { echo "skipped: $$reason"; exit 0; }; scripts/check service

# Two hours at 200 messages a second, each part restarted every ten minutes; SOAK_MINUTES, SOAK_RATE.
soak: export SOAK_MINUTES ?= 120
soak: export SOAK_RATE ?= 200
soak: stage
	@scripts/check soak

# Against a server that is already running (PGHOST, PGPORT, ...) and has pg_byoc installed and preloaded.
installcheck: packages
	@scripts/check installcheck

# Next to others, the medians of ROUNDS=5; BENCH='dispatch latency' runs parts, QUICK=1 is for developing. All of it also draws
# doc/bench.svg. Fails past a bar.
BENCHES = crypto dispatch latency enqueue fairness depth api
bench: stage npm
	@status=0; for part in $(or $(BENCH),$(BENCHES)); do node tests/bench/$$part.mjs || status=1; done; \
	$(if $(BENCH)$(QUICK),,node tests/bench/chart.mjs &&) exit $$status

# Searches for inputs that break what reads envelopes, key rings, tokens and templates, so long for each.
FUZZ_SECONDS ?= 300
fuzz:
	@scripts/deps clang libclang-rt-14-dev
	$(build) fuzz
	@for name in $(FUZZ_TARGETS); do \
	    mkdir -p build/fuzz/corpus/$$name && \
	    build/fuzz/bin/$${name}_fuzz -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1 \
	        -artifact_prefix=build/fuzz/$$name- build/fuzz/corpus/$$name tests/fuzz/seeds/$$name || exit 1; \
	done

# Made-up requests of the REST API, more than `make check` makes; SEED=... makes the same again.
fuzz-api: export FUZZ_REQUESTS = $(or $(REQUESTS),20000)
fuzz-api: export FUZZ_SEED = $(or $(SEED),1)
fuzz-api: stage
	@node --test --test-reporter=spec tests/e2e/api_fuzz.test.mjs

# doc/reference.md, from the catalog's comments; `make check` compares them.
reference: stage
	@node scripts/reference.mjs

# The scripts that ALTER EXTENSION runs, from the last release's script and this version's.
upgrade-scripts: packages
	$(build) all CMAKE_TARGET=byocd
	@node scripts/upgrade-scripts.mjs

format:
	@scripts/deps clang-format
	@clang-format -i $$(git ls-files '*.cpp' '*.h')

clean:
	@scripts/stop-leftovers --all
	@rm -rf build pg_byoc.so extension/*.[do] extension/*/*.[do]

else
# ---- Second pass: the build ----------------------------------------------------------------------------

MODULE_big = pg_byoc
OBJS       = $(patsubst %.cpp,%.o,$(sort $(wildcard extension/*.cpp extension/crypto/*.cpp extension/template/*.cpp)))
EXTENSION  = extension/pg_byoc
DATA       = $(wildcard sql/pg_byoc--*--*.sql)
SCRIPT     = build/pg_byoc--$(EXTVERSION).sql
DATA_built = $(SCRIPT)
SQL_FILES  = $(SQL_PARTS:%=sql/%.sql)

# PostgreSQL's own headers count as system headers: our warnings are for our code.
PG_CPPFLAGS  = -Iextension -isystem $(shell $(PG_CONFIG) --includedir-server) \
    -DOPENSSL_API_COMPAT=30000 -DOPENSSL_NO_DEPRECATED -DBYOC_VERSION='"$(EXTVERSION)"'
PG_CXXFLAGS  = -std=c++17 -Wall -Wextra $(if $(WERROR),-Werror) -MMD -MP
SHLIB_LINK   = -lcjose -ljansson -lcrypto -lstdc++
NO_INSTALLCHECK = 1
# JIT bitcode needs clang, gets none of our flags and inlines nothing here that matters.
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

-include $(OBJS:.o=.d)
$(OBJS): Makefile
extension/module.o: extension/pg_byoc.control
%.o: %.cpp
	@echo "  CXX  $@"
	@$(COMPILE.cc) -o $@ $<

$(SCRIPT): $(SQL_FILES) extension/pg_byoc.control Makefile
	@mkdir -p $(@D)
	@{ printf '%s\n' '\echo Use "CREATE EXTENSION pg_byoc" to load this file. \quit'; \
	   for part in $(SQL_FILES); do printf '\n-- %s\n\n' "$$part"; cat "$$part"; done; } >$@

# byocd, and for the first pass's `stage` the simulator and the unit tests too.
CMAKE_TARGET = byocd

.PHONY: byocd asan tsan fuzz install-byocd uninstall-byocd
all: byocd
install: install-byocd
uninstall: uninstall-byocd

configure = @cmake -S . -B $(@D) -G Ninja \
    -DCMAKE_RUNTIME_OUTPUT_DIRECTORY=$(CURDIR)/$(@D)/bin -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
    $(if $(WERROR),-DCMAKE_COMPILE_WARNING_AS_ERROR=ON)

build/cmake/build.ninja:
	$(configure) -DCMAKE_BUILD_TYPE=RelWithDebInfo
build/asan/build.ninja: SANITIZE = address
build/tsan/build.ninja: SANITIZE = thread
build/asan/build.ninja build/tsan/build.ninja:
	$(configure) -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG='-O1 -g1' -DBYOC_SANITIZE=$(SANITIZE)

build/fuzz/build.ninja:
	$(configure) -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ -DBYOC_FUZZ=ON

byocd: build/cmake/build.ninja
	@cmake --build $(<D) --target $(CMAKE_TARGET)
asan tsan: %: build/%/build.ninja
	@cmake --build $(<D)
fuzz: build/fuzz/build.ninja
	@cmake --build $(<D) --target $(FUZZ_TARGETS:%=%_fuzz)

install-byocd: byocd
	@install -D -m 755 build/cmake/bin/byocd '$(DESTDIR)$(PREFIX)/bin/byocd'
	@install -d '$(DESTDIR)$(PREFIX)/lib/systemd/system'
	@sed 's|/usr/local/bin|$(PREFIX)/bin|' ops/byocd.service >'$(DESTDIR)$(PREFIX)/lib/systemd/system/byocd.service'
uninstall-byocd:
	rm -f '$(DESTDIR)$(PREFIX)/bin/byocd' '$(DESTDIR)$(PREFIX)/lib/systemd/system/byocd.service'
endif
