/// A piece of guest RAM as another party (the kernel's vhost, a vhost-user back end) needs it to reach the guest's buffers by itself.
public struct RAMMapping: Sendable, Equatable {
    /// A file that another process can map to see the same bytes.
    public struct File: Sendable, Equatable {
        /// Belongs to the guest's memory; good as long as a `HostRange`.
        public let descriptor: Int32
        /// Which byte of the file is the piece's first.
        public let offset: UInt64

        public init(descriptor: Int32, offset: UInt64) {
            self.descriptor = descriptor
            self.offset = offset
        }
    }

    /// First guest physical address.
    public let base: UInt64
    /// Bytes, never 0; `base + size` does not wrap.
    public let size: UInt64
    /// Where the first byte is in this process.
    public let address: UInt
    /// Nil when the memory is this process's alone.
    public let file: File?

    public init(base: UInt64, size: UInt64, address: UInt, file: File?) {
        self.base = base
        self.size = size
        self.address = address
        self.file = file
    }
}

extension GuestMemory {
    /// All RAM that the guest may write, sorted by base, in as few pieces as `ramRanges`. Read-only RAM is left out: whoever gets these pieces also writes
    /// to them. Good until the guest's memory changes.
    public func writableMappings() -> [RAMMapping] {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let table = unsafe publisher.table
        return unsafe table.pointee.ram.compactMap { ram in
            guard !ram.readOnly else { return nil }
            let file = ram.file >= 0 ? RAMMapping.File(descriptor: ram.file, offset: ram.fileOffset) : nil
            return RAMMapping(base: ram.base, size: ram.last &- ram.base &+ 1, address: ram.host, file: file)
        }
    }
}
