/// The registers with which the first aarch64 vCPU starts. Plain data; compiled on every host. A new image is the processor's state after reset, to be changed
/// to what the kernel's boot protocol wants (kernel Documentation/arch/arm64/booting.rst, "Call the kernel image").
public struct AArch64RegisterImage: Equatable, Sendable {
    /// Physical address of the first instruction: the start of the kernel image.
    public var pc: UInt64 = 0
    /// For a kernel the physical address of the device tree, a multiple of 8.
    public var x0: UInt64 = 0
    /// x1...x3 are kept for later protocols: 0.
    public var x1: UInt64 = 0
    public var x2: UInt64 = 0
    public var x3: UInt64 = 0
    public var pstate = Self.kernelMode

    /// EL1 with a stack pointer of its own, and D, A, I and F masked (Arm ARM C5.2.18, SPSR_EL1): what the hardware takes at reset, and the kernel expects.
    public static let kernelMode: UInt64 = 0x3C5

    public init() {}

    /// A kernel at `entry` that finds its device tree at `deviceTree`.
    public init(entry: UInt64, deviceTree: UInt64) { (pc, x0) = (entry, deviceTree) }
}
