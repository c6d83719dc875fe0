/// What a machine's processors are, and what QEMU's protocol calls it. Which of them a machine has is the machine's affair (`MachineControl.architecture`).
public enum GuestArchitecture: Equatable, Sendable, CaseIterable, CustomStringConvertible {
    case x86_64
    case aarch64

    public var description: String { target }

    /// SysEmuTarget of QEMU's QAPI schema.
    var target: String {
        switch self {
        case .x86_64: "x86_64"
        case .aarch64: "aarch64"
        }
    }

    /// CpuInfoArch.
    var processor: String {
        switch self {
        case .x86_64: "x86"
        case .aarch64: "arm"
        }
    }

    /// The type of a vCPU in the object tree.
    var cpuType: String {
        switch self {
        case .x86_64: "host-x86_64-cpu"
        case .aarch64: "host-arm-cpu"
        }
    }
}
