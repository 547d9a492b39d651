# make demo      build and start the one-machine trial; ARGS="-dir DIR -provider HOST:PORT -portal HOST:PORT -fresh"
# make build     the binary, bin/beffroi, with its pages' files
# make test      everything: real servers, both databases, a real browser (as root it installs what is missing)
# make fuzz      every fuzz target for 20 s; ARGS="FuzzAuthorize", FUZZTIME=5m
# make check     format, vet, staticcheck, known vulnerabilities, templates, import rules, languages
# make bench     what each operation costs; ARGS="-workers 64 -database sqlite -alg ES256"
# make screens   pictures of every page, in screens/
# make clean     removes what was built

.POSIX:
.SUFFIXES:
.PHONY: help demo build assets test fuzz check fmt vet staticcheck vulncheck rules bench screens clean

GO = go
ARGS =
TOGETHER = TwoHundred|AtOnce|Together|Parallel|ManyPeople|EightWorkers|Races?
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

demo: build
	@exec bin/beffroi demo $(ARGS)

build: assets
	@test -x bin/beffroi || echo "build: bin/beffroi (the first time takes a minute or two)"
	@$(GO) build -trimpath -o bin/beffroi ./cmd/beffroi

assets:
	@sh internal/testpeer/install.sh --assets
	@sh templates/npm/build.sh

# -count=1: a result from a server that has changed since is no result
test:
	@sh internal/testpeer/install.sh
	@sh templates/npm/build.sh
	@sh e2e/npm/install.sh
	@test -f templates/npm/node_modules/axe-core/axe.min.js || sh templates/npm/build.sh -force
	@echo "test: go vet"
	@$(GO) vet ./...
	@echo "test: go test (about ten minutes on two cores)"
	@$(GO) test -count=1 -timeout 15m ./...
	@echo "test: fuzzing, each target for 20 s (about four minutes)"
	@sh .ci/fuzz
	@echo "test: everything passed"

fuzz:
	@sh .ci/fuzz $(ARGS)

check: assets fmt vet staticcheck vulncheck rules
	@echo "check: clean"

fmt:
	@echo "check: gofmt"
	@wrong=$$(find . -name node_modules -prune -o -name '*.go' -print | xargs gofmt -l) && test -z "$$wrong" || { echo "gofmt -w these: $$wrong" >&2; exit 1; }

vet:
	@echo "check: go vet"
	@$(GO) vet ./...

staticcheck:
	@echo "check: staticcheck"
	@$(GO) run $(STATICCHECK) ./...

vulncheck:
	@sh .ci/vulncheck

rules:
	@echo "check: import rules, templates, languages"
	@$(GO) test -count=1 ./internal/arch ./internal/i18n ./templates

bench: build
	@$(GO) run ./e2e/bench $(ARGS)

screens: build
	@$(GO) run ./e2e/screens $(ARGS)

clean:
	rm -rf bin screens templates/npm/node_modules e2e/npm/node_modules
	find templates/static/dist -type f ! -name placeholder.txt -delete
