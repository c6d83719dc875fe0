public import LinuxSys

/// Why an access to guest RAM was refused. All of these can be provoked by the guest except `file`, `endOfFile` and `release`.
public enum GuestMemoryError: Error, Equatable, Sendable, CustomStringConvertible {
    /// An access of no bytes.
    case zeroLength(address: UInt64)
    /// `address + count` exceeds 64 bits.
    case wraps(address: UInt64, count: UInt64)
    /// The first byte is in a hole, a ROM or a device: DMA goes to RAM only (the CVE-2021-3416 class of attacks).
    case notRAM(address: UInt64)
    /// The access starts in RAM and runs into something else.
    case crossesEnd(address: UInt64, count: UInt64)
    /// All RAM, but not one piece of host memory.
    case notContiguous(address: UInt64, count: UInt64)
    /// RAM that only the guest's firmware image lives in, mapped read-only.
    case readOnly(address: UInt64)
    case misaligned(address: UInt64)
    /// More than the caller is ready to take, or an integer type wider than 64 bits.
    case tooLong(count: UInt64)
    case file(Errno)
    /// The host did not take pages back: not the guest's fault (locked memory, huge pages on a kernel before 5.18, a file system without holes).
    case release(Errno)
    case endOfFile

    public var description: String {
        switch self {
        case .zeroLength(let address): "empty access to guest memory at 0x\(hex(address))"
        case .wraps(let address, let count): "guest memory access at 0x\(hex(address)) of \(count) bytes wraps around"
        case .notRAM(let address): "guest address 0x\(hex(address)) is not RAM"
        case .crossesEnd(let address, let count): "guest memory access at 0x\(hex(address)) of \(count) bytes leaves RAM"
        case .notContiguous(let address, let count): "guest memory at 0x\(hex(address)) of \(count) bytes is not contiguous"
        case .readOnly(let address): "guest memory at 0x\(hex(address)) is read-only"
        case .misaligned(let address): "guest address 0x\(hex(address)) is misaligned"
        case .tooLong(let count): "guest memory access of \(count) bytes is too long"
        case .file(let errno): "cannot read the file into guest memory: \(errno)"
        case .release(let errno): "cannot give guest memory back to the host: \(errno)"
        case .endOfFile: "the file ends too early"
        }
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}
