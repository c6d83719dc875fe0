/// Why a machine has no memory map: one sentence for the user.
public enum MemoryMapError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A part of RAM is not made of whole pages of the host.
    case partialPage(size: UInt64, pageSize: UInt64)
    case tooMuchRAM(end: UInt64, limit: UInt64)
    case noRoomForRedistributors(limit: UInt64)

    public var description: String {
        switch self {
        case .partialPage(let size, let pageSize): "-m: \(size >> 10) KiB are not a multiple of this host's pages of \(pageSize >> 10) KiB"
        case .tooMuchRAM(let end, let limit):
            "-m: RAM would end at 0x\(String(end, radix: 16)); guests of this host have addresses below 0x\(String(limit, radix: 16)) only"
        case .noRoomForRedistributors(let limit):
            "-smp: below 0x\(String(limit, radix: 16)), where the addresses of guests of this host end, is no room for the interrupt controllers of so many vCPUs"
        }
    }
}
