/// A device that adds memory to the guest's address space.
public struct MemoryDeviceInfo: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// virtio-mem; all in bytes. `requested` is what the guest should have, `plugged` what it has.
        case resizable(requested: UInt64, plugged: UInt64, blockSize: UInt64, node: UInt16?)
        /// virtio-pmem.
        case persistent
    }

    public var id: String
    public var kind: Kind
    /// The id of its memory backend.
    public var memdev: String
    /// Guest physical address.
    public var address: UInt64
    /// Bytes; of a resizable device the most that it can give.
    public var size: UInt64

    public init(id: String, kind: Kind, memdev: String, address: UInt64, size: UInt64) {
        self.id = id
        self.kind = kind
        self.memdev = memdev
        self.address = address
        self.size = size
    }
}
