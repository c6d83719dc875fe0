# stratovirt: what a developer runs. Everything prints its progress; a second run skips what is done.

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /    make \1\t/p' Makefile | expand -t 24

build: ## the release binary, .build/release/stratovirt
	@Scripts/build

cross-aarch64: ## the program for aarch64, .build-aarch64/release/stratovirt, made on this machine
	@Scripts/build aarch64

check-binary: build ## that it is static, position independent, small, and without Foundation and Dispatch
	@Scripts/check-binary .build/release/stratovirt

run: ## boot Debian's stock kernel to a shell on this terminal
	@Scripts/run

test: ## everything: units, the binary, integration, the labs
	@Scripts/test

unit: ## the packages' own tests
	@Scripts/test unit

integration: ## Tests/: command line, QMP and payloads on this machine's /dev/kvm
	@Scripts/test integration

lab: ## real kernels on real KVM, here or in the lab
	@Scripts/test lab

lab-aarch64: ## the same for aarch64, in an emulated machine with real KVM
	@Scripts/test lab-aarch64

figures: build ## memory and start-up time, measured on this machine
	@Scripts/figures

bench: build ## all benchmarks, side by side with QEMU's microvm; make bench-PART runs one: Benchmarks/PART
	@Scripts/bench

bench-%: build
	@Scripts/bench $*

clean: ## what was built (the cache of kernels and images stays)
	rm -rf .build .build-aarch64 Packages/*/.build

.PHONY: help build cross-aarch64 check-binary run test unit integration lab lab-aarch64 figures bench clean
