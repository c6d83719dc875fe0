extension OptionTable {
    static var numa: OptionSpec {
        let distances = UInt64(VmConfig.localDistance)...255
        return option(
            .numa, "numa", .many,
            .variants(
                what: "NUMA setting",
                [
                    OptionVariant(
                        "node", "vCPUs and the memory near to them; at most \(VmConfig.maximumNodes)",
                        [
                            ParameterSpec("nodeid", .integer(VmConfig.nodeNumbers), required: true),
                            ParameterSpec("cpus", .numbers(0...(VmConfig.maximumCPUs - 1)), "vCPUs; those of no node belong to node 0"),
                            ParameterSpec("memdev", .text(OptionLimit.text), "id of an -object memory-backend-ram, -file or -memfd"),
                        ]),
                    OptionVariant(
                        "dist", "distance between two nodes; without it \(VmConfig.remoteDistance)",
                        [
                            ParameterSpec("src", .integer(VmConfig.nodeNumbers), required: true, "nodeid of a vCPU's node"),
                            ParameterSpec("dst", .integer(VmConfig.nodeNumbers), required: true, "nodeid of a memory's node"),
                            ParameterSpec("val", .integer(distances), required: true, "10 to the node itself, else more; 255 is out of reach"),
                        ]),
                ]),
            "NUMA nodes of the guest")
    }

    /// The memory of the host that a backend is.
    static var memoryBackends: [OptionVariant] {
        [
            OptionVariant(
                "memory-backend-ram", "memory of the host for a part of the guest's",
                memoryBackend(share: "other processes can map it; default off", path: ParameterSpec("mem-path", .misplaced("for memory-backend-file")))),
            OptionVariant(
                "memory-backend-file", "the same, in a file",
                memoryBackend(
                    share: "what the guest writes is written to the file; default on",
                    path: ParameterSpec("mem-path", .path(OptionLimit.path), required: true, "file, which may be new, or folder for a file without a name"))
                    + [ParameterSpec("readonly", .onOff, "the guest can only read it; for virtio-pmem-device; default off")]),
            OptionVariant(
                "memory-backend-memfd", "the same, in a file without a name that other processes can map",
                memoryBackend(share: "other processes can map it; default on", path: ParameterSpec("mem-path", .misplaced("for memory-backend-file")))
                    + [
                        ParameterSpec("hugetlb", .onOff, "of the host's reserved huge pages; default off"),
                        ParameterSpec("hugetlbsize", .size(VmConfig.hugePageSizes), "size of these pages; default the host's; needs hugetlb=on"),
                    ]),
        ]
    }

    private static func memoryBackend(share: String, path: ParameterSpec) -> [ParameterSpec] {
        [
            ParameterSpec("id", .text(OptionLimit.text), required: true),
            ParameterSpec("size", .size(VmConfig.memoryBackendSizes), required: true, "in MiB unless K, M or G follows"),
            path,
            ParameterSpec("share", .onOff, share),
            ParameterSpec("host-nodes", .numbers(VmConfig.nodeNumbers), "NUMA nodes of the host that policy= is about"),
            ParameterSpec("policy", .choice(["default", "preferred", "bind", "interleave"], later: []), "default default; the others need host-nodes="),
            ParameterSpec("mem-prealloc", .onOff, "take all pages at the start; default off"),
            ParameterSpec("prealloc", .onOff, "same as mem-prealloc"),
            ParameterSpec("dump-guest-core", .onOff, "part of a core dump, unless -machine says off; default on"),
        ]
    }
}
