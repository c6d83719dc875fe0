extension OptionTable {
    /// The machine, its processors and memory, and what it boots.
    static var machine: [OptionSpec] {
        let cpus: ClosedRange<UInt64> = 1...VmConfig.maximumCPUs
        let derived: ClosedRange<UInt64> = 0...VmConfig.maximumCPUs
        return [
            option(
                .machine, "machine", .one, .implied("type"),
                [
                    ParameterSpec("type", .choice(["microvm", "none"], later: ["q35", "virt"]), "default microvm; none has no guest and only answers QMP"),
                    ParameterSpec("accel", .choice(["kvm"], later: ["kvm:tcg", "test"]), "default kvm"),
                    ParameterSpec("dump-guest-core", .onOff, "guest memory is part of a core dump; default on"),
                    ParameterSpec("mem-share", .onOff, "guest memory can be shared with other processes; default off"),
                    ParameterSpec("usb", .onlyOff, "no effect"),
                    ParameterSpec("gic-version", .choice(["host", "max", "3"], later: ["2"]), "aarch64 only: of the interrupt controller; default host"),
                    ParameterSpec("dumpdtb", .path(OptionLimit.path), "aarch64 only: write the guest's device tree to a new file and exit"),
                ],
                "kind of machine"),
            option(
                .accelerator, "accel", .one, .implied("accel"),
                [ParameterSpec("accel", .choice(["kvm"], later: ["kvm:tcg", "test"]), required: true)],
                "hypervisor"),
            option(
                .smp, "smp", .one, .implied("cpus"),
                [
                    ParameterSpec("cpus", .integer(cpus), required: true, "vCPUs present at boot"),
                    ParameterSpec("maxcpus", .integerOrAuto(derived), "default: as many as the topology holds, or cpus"),
                    ParameterSpec("sockets", .integerOrAuto(derived), "default: derived"),
                    ParameterSpec("dies", .integer(cpus), "dies in a socket; default 1"),
                    ParameterSpec("clusters", .integer(cpus), "clusters in a die; default 1"),
                    ParameterSpec("cores", .integerOrAuto(derived), "cores in a cluster; default: derived"),
                    ParameterSpec("threads", .integerOrAuto(derived), "threads in a core; default: derived"),
                ],
                "number and topology of the vCPUs; default 1"),
            option(
                .cpu, "cpu", .one, .implied("model"),
                [
                    ParameterSpec("model", .choice(["host"], later: []), "default host"),
                    ParameterSpec("pmu", .onOff, "performance counters; default off; no effect on x86_64"),
                    ParameterSpec("sve", .onOff, "scalable vectors; default off; no effect on x86_64"),
                    ParameterSpec("kvm-steal-time", .onOff, "the guest sees how long its vCPUs waited; default off; no effect on x86_64"),
                ],
                "CPU model"),
            option(
                .memory, "m", .one, .implied("size"),
                [
                    ParameterSpec("size", .size(VmConfig.memoryLimits), required: true, "in MiB unless K, M or G follows"),
                    ParameterSpec("maxmem", .size(VmConfig.memoryLimits), "at least size"),
                ],
                "guest memory; default 256M"),
            option(.memoryPath, "mem-path", .one, .whole("FILE"), "guest memory is in FILE, or in a file without a name if FILE is a folder"),
            option(.memoryPreallocation, "mem-prealloc", .flag, "take all of the guest's memory from the host at the start"),
            numa,
            option(.kernel, "kernel", .one, .whole("FILE"), "bzImage, ELF vmlinux or flat binary to boot"),
            option(.initrd, "initrd", .one, .whole("FILE"), "initial RAM disk"),
            option(.append, "append", .many, .whole("WORDS"), "kernel command line; several values are joined by a space"),
        ]
    }
}
