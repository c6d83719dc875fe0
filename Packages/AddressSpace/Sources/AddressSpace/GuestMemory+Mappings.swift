internal import Synchronization

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

/// Memory of which the guest has a part that changes, and where all of it would be.
struct AnnouncedMemory: Sendable {
    let base: UInt64
    let memory: HostMemory
}

extension GuestMemory {
    /// Says that parts of `memory`, which is as large as it will ever be, come into the guest's address space from `base` on and leave it again. Whoever maps
    /// the guest's memory by itself gets all of it from now on: a back end that is at work cannot be told of each part, and has room for few. For good.
    public func announce(_ memory: HostMemory, at base: UInt64) {
        announced.withLock { $0.append(AnnouncedMemory(base: base, memory: memory)) }
    }

    /// All RAM that the guest may write, sorted by base, in as few pieces as `ramRanges`, and all that was announced. Read-only RAM is left out: whoever gets these
    /// pieces also writes to them. Good until the guest's memory changes.
    public func writableMappings() -> [RAMMapping] {
        let whole = announced.withLock { $0.map(RAMMapping.init) }
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let table = unsafe publisher.table
        let parts = unsafe table.pointee.ram.compactMap { ram -> RAMMapping? in
            guard !ram.readOnly, !whole.contains(where: { $0.base <= ram.base && ram.base &- $0.base < $0.size }) else { return nil }
            let file = ram.file >= 0 ? RAMMapping.File(descriptor: ram.file, offset: ram.fileOffset) : nil
            return RAMMapping(base: ram.base, size: ram.last &- ram.base &+ 1, address: ram.host, file: file)
        }
        return whole.isEmpty ? parts : (parts + whole).sorted { $0.base < $1.base }
    }
}

extension RAMMapping {
    fileprivate init(_ announced: AnnouncedMemory) {
        let memory = announced.memory
        let file = memory.isShared ? File(descriptor: memory.fileDescriptor, offset: memory.fileOffset) : nil
        self.init(base: announced.base, size: memory.size, address: memory.address, file: file)
    }
}
