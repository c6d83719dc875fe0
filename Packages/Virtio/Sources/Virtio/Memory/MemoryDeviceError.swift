/// Why a memory device cannot be, or cannot have the size that was asked for: one sentence for the user.
public struct MemoryDeviceError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Reason: Equatable, Sendable {
        /// Bytes; not a power of two from 2 MiB on.
        case badBlockSize(UInt64)
        /// The host's pages, huge ones, are larger.
        case blockWithinPage(blockSize: UInt64, pageSize: UInt64)
        /// The memory's size, or its address in the guest, is not a multiple of the block size.
        case misaligned(size: UInt64, blockSize: UInt64)
        case misplaced(address: UInt64, blockSize: UInt64)
        /// The end of the region wraps.
        case tooHigh(address: UInt64)
        /// Not a multiple of the block size.
        case unevenRequest(UInt64, blockSize: UInt64)
        case requestTooLarge(UInt64, size: UInt64)
    }

    public let device: String
    public let reason: Reason

    public init(device: String, _ reason: Reason) {
        self.device = device
        self.reason = reason
    }

    public var description: String {
        let what =
            switch reason {
            case .badBlockSize(let size): "the block size \(size) is not a power of two from 2M on"
            case .blockWithinPage(let block, let page): "the block size, \(Self.text(block)), is less than its memory's huge pages, \(Self.text(page))"
            case .misaligned(let size, let block): "the size of its memory, \(size), is not a multiple of \(Self.text(block))"
            case .misplaced(let address, let block): "the address 0x\(String(address, radix: 16)) is not a multiple of \(Self.text(block))"
            case .tooHigh(let address): "no memory fits at the address 0x\(String(address, radix: 16))"
            case .unevenRequest(let size, let block): "the requested size \(size) is not a multiple of the block size, \(Self.text(block))"
            case .requestTooLarge(let size, let limit): "the requested size \(size) is more than the \(limit) bytes that there are"
            }
        return "memory device '\(device)': \(what)"
    }

    /// Block sizes are powers of two from 2 MiB on.
    private static func text(_ bytes: UInt64) -> String { bytes >= 1 << 30 ? "\(bytes >> 30)G" : "\(bytes >> 20)M" }
}
