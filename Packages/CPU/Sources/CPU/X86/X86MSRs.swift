public import Hypervisor

/// Model-specific registers at reset (Intel SDM vol. 4 for their numbers).
public enum X86MSRs {
    static let tsc: UInt32 = 0x10
    static let sysenterCS: UInt32 = 0x174
    static let sysenterESP: UInt32 = 0x175
    static let sysenterEIP: UInt32 = 0x176
    static let miscEnable: UInt32 = 0x1A0
    static let mtrrDefType: UInt32 = 0x2FF
    static let star: UInt32 = 0xC000_0081
    static let lstar: UInt32 = 0xC000_0082
    static let cstar: UInt32 = 0xC000_0083
    static let syscallMask: UInt32 = 0xC000_0084
    static let kernelGSBase: UInt32 = 0xC000_0102

    /// Without these a 64-bit kernel does not work: a hypervisor that refuses one cannot run it.
    public static let essential = [
        MSREntry(index: sysenterCS, value: 0), MSREntry(index: sysenterESP, value: 0), MSREntry(index: sysenterEIP, value: 0),
        MSREntry(index: star, value: 0), MSREntry(index: lstar, value: 0), MSREntry(index: cstar, value: 0),
        MSREntry(index: syscallMask, value: 0), MSREntry(index: kernelGSBase, value: 0),
    ]

    /// A guest lives without these: one that is refused is left out, and the log says so.
    public static let optional = [
        MSREntry(index: tsc, value: 0),
        // Fast string instructions.
        MSREntry(index: miscEnable, value: 1),
        // MTRRs enabled, write-back by default. A value of 0 (MTRRs off, as after reset) makes Linux believe that the firmware disabled them, and
        // kernels before 6.3 then do without PAT as well.
        MSREntry(index: mtrrDefType, value: 0x806),
    ]
}
