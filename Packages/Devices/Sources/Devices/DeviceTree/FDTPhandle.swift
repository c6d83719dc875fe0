/// The numbers by which device tree nodes refer to each other. Those of processors are 0x100 and up.
public enum FDTPhandle {
    public static let gic: UInt32 = 1
    /// The interrupt translation service of a GICv3.
    public static let its: UInt32 = 2
    public static let apbClock: UInt32 = 3
    public static let gpio: UInt32 = 4
}
