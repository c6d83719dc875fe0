public import AddressSpace
internal import BootX86

extension X86Boot {
    public static func load(
        _ configuration: X86BootConfiguration, into memory: GuestMemory
    ) throws(BootError) -> Int {
        _ = try fill(memory, configuration)
        return 0
    }
}
