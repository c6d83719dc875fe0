internal import CLinuxSys

/// Integers in guest RAM: little endian, any alignment, one access each (never two, so a value that was checked is the value
/// that is used). Copy a descriptor once, check the copy, use the copy.
extension GuestMemory {
    /// An integer of 1, 2, 4 or 8 bytes.
    @inlinable
    public func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at gpa: UInt64) throws(GuestMemoryError) -> T {
        T(truncatingIfNeeded: try loadBits(at: gpa, size: MemoryLayout<T>.size))
    }

    /// Stores an integer of 1, 2, 4 or 8 bytes.
    @inlinable
    public func store<T: FixedWidthInteger & BitwiseCopyable>(_ value: T, at gpa: UInt64) throws(GuestMemoryError) {
        try storeBits(UInt64(truncatingIfNeeded: value), at: gpa, size: MemoryLayout<T>.size)
    }

    /// One atomic access with acquire order, for ring indices; `gpa` must be even.
    public func loadAcquire16(at gpa: UInt64) throws(GuestMemoryError) -> UInt16 {
        guard gpa & 1 == 0 else { throw .misaligned(address: gpa) }
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let address = try locate(gpa, 2, .read)
        // A RAM region may start at an odd offset of its mapping.
        guard address & 1 == 0 else { throw .misaligned(address: gpa) }
        // SAFETY: locate checked 2 bytes, the section keeps them mapped.
        return unsafe sys_load_acquire16(RawMemory.pointer(address))
    }

    /// One atomic access with release order, for ring indices; `gpa` must be even.
    public func storeRelease16(_ value: UInt16, at gpa: UInt64) throws(GuestMemoryError) {
        guard gpa & 1 == 0 else { throw .misaligned(address: gpa) }
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let address = try locate(gpa, 2, .write)
        guard address & 1 == 0 else { throw .misaligned(address: gpa) }
        // SAFETY: locate checked 2 bytes, the section keeps them mapped.
        unsafe sys_store_release16(RawMemory.pointer(address), value)
    }

    @usableFromInline
    func loadBits(at gpa: UInt64, size: Int) throws(GuestMemoryError) -> UInt64 {
        guard size >= 1, size <= 8 else { throw .tooLong(count: UInt64(size)) }
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let address = try locate(gpa, UInt64(size), .read)
        // SAFETY: locate checked size bytes, the section keeps them mapped.
        return unsafe RawMemory.load(address, size: size)
    }

    @usableFromInline
    func storeBits(_ value: UInt64, at gpa: UInt64, size: Int) throws(GuestMemoryError) {
        guard size >= 1, size <= 8 else { throw .tooLong(count: UInt64(size)) }
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let address = try locate(gpa, UInt64(size), .write)
        // SAFETY: locate checked size bytes, the section keeps them mapped.
        unsafe RawMemory.store(value, address, size: size)
    }
}
