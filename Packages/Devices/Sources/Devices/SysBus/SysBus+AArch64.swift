extension SysBus {
    /// Shared peripheral interrupts for devices on aarch64, up to INTID 255; those of the fixed devices are below.
    public static let aarch64Interrupts = Array<UInt32>(32...223)
    /// Behind the fixed devices; RAM begins at 0x4000_0000.
    public static let aarch64Window: Range<UInt64> = 0x0A00_0000..<0x0C00_0000
}
