extension OptionTable {
    static var virtioMem: OptionVariant {
        OptionVariant(
            "virtio-mem-device", "memory that the guest takes and gives back while it runs; without id= it has the backend's",
            [
                ParameterSpec("memdev", .text(OptionLimit.text), required: true, "id of an -object memory-backend-*, the most that the guest can have"),
                id, memoryAddress("default: the lowest that is free; a multiple of block-size"),
                ParameterSpec("block-size", .size(VmConfig.memoryBlockSizes), "a power of two; default the smallest with which the memory has at most 256 blocks"),
                ParameterSpec("requested-size", .size(0...VmConfig.memoryBackendSizes.upperBound), "what the guest is to have at first; default 0; a multiple of block-size"),
                ParameterSpec("node", .integer(VmConfig.nodeNumbers), "NUMA node of the guest that it belongs to"),
                ParameterSpec(
                    "unplugged-inaccessible", .choice(["auto", "on", "off"], later: []),
                    "the guest is told to keep away from what it does not have; on: a driver that cannot gets nothing; default auto"),
            ] + misplaced)
    }

    static var virtioPmem: OptionVariant {
        OptionVariant(
            "virtio-pmem-device", "file that the guest sees as persistent memory, /dev/pmem0 and so on; without id= it has the backend's",
            [
                ParameterSpec("memdev", .text(OptionLimit.text), required: true, "id of an -object memory-backend-file whose size is a multiple of 2M"),
                id, memoryAddress("default: the lowest that is free; a multiple of 2M"),
            ] + misplaced)
    }

    private static func memoryAddress(_ help: String) -> ParameterSpec { ParameterSpec("memaddr", .address, "where the guest finds it; \(help)") }
}
