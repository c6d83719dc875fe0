internal import Synchronization

/// A guest's RAM, by guest physical address. Any thread; no lock is taken.
///
/// Each access is checked once against the published view and then done: it cannot run past a region, and it never
/// reaches a device (a descriptor that points at registers is an error, not a device call). Accesses of zero bytes are errors
/// too, so that a length of 0 cannot slip through a check further up.
public final class GuestMemory: Sendable {
    let publisher: ViewPublisher
    /// Memory of which the guest has a part: see `announce`.
    let announced = Mutex<[AnnouncedMemory]>([])

    init(publisher: ViewPublisher) { self.publisher = publisher }

    /// What the access is for: read-only RAM refuses `.write`.
    public enum Access: Sendable { case read, write }

    /// A piece of RAM in the guest's address space.
    public struct RAMRange: Sendable, Equatable {
        public let base: UInt64
        /// Bytes.
        public let size: UInt64
        public let readOnly: Bool

        public init(base: UInt64, size: UInt64, readOnly: Bool = false) {
            self.base = base
            self.size = size
            self.readOnly = readOnly
        }
    }

    /// All RAM, sorted by base; pieces that are contiguous in the guest and in this process are one.
    public func ramRanges() -> [RAMRange] {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let table = unsafe publisher.table
        // RAM that spans a whole 64-bit space cannot be, so the size never wraps to 0.
        return unsafe table.pointee.ram.map { RAMRange(base: $0.base, size: $0.last &- $0.base &+ 1, readOnly: $0.readOnly) }
    }

    /// Whether all of it is RAM, in however many pieces.
    public func isRAM(at gpa: UInt64, count: UInt64, for access: Access = .write) -> Bool {
        do {
            try validate(gpa, count, access)
            return true
        } catch {
            return false
        }
    }

    /// Host address of `count` bytes in one piece.
    /// SAFETY: call inside a section of `publisher.gate`; the result is good until the section is left.
    @inline(__always)
    func locate(_ gpa: UInt64, _ count: UInt64, _ access: Access) throws(GuestMemoryError) -> UInt {
        guard count > 0 else { throw .zeroLength(address: gpa) }
        let table = unsafe publisher.table
        guard let index = unsafe table.pointee.ramIndex(at: gpa) else { throw failure(gpa, count) }
        // SAFETY: ramIndex returns indices inside ram.
        let ram = unsafe table.pointee.ram.baseAddress.unsafelyUnwrapped + index
        guard unsafe count &- 1 <= ram.pointee.last &- gpa else { throw failure(gpa, count) }
        if access == .write, unsafe ram.pointee.readOnly { throw .readOnly(address: gpa) }
        return unsafe ram.pointee.host &+ UInt(truncatingIfNeeded: gpa &- ram.pointee.base)
    }

    /// The piece that holds `gpa`: first and last address, host address of the first, whether it is read-only.
    func ramPiece(at gpa: UInt64) -> (base: UInt64, last: UInt64, host: UInt, readOnly: Bool)? {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        let table = unsafe publisher.table
        guard let index = unsafe table.pointee.ramIndex(at: gpa) else { return nil }
        // SAFETY: ramIndex returns indices inside ram.
        let ram = unsafe table.pointee.ram[index]
        return (ram.base, ram.last, ram.host, ram.readOnly)
    }

    /// The reason why `count` bytes at `gpa` are not one piece of RAM.
    @inline(never)
    private func failure(_ gpa: UInt64, _ count: UInt64) -> GuestMemoryError {
        do {
            try validate(gpa, count, .read)
        } catch {
            return error
        }
        return .notContiguous(address: gpa, count: count)
    }

    /// Checks that all of it is RAM, in however many pieces.
    func validate(_ gpa: UInt64, _ count: UInt64, _ access: Access) throws(GuestMemoryError) {
        let ticket = publisher.gate.enter()
        defer { publisher.gate.leave(ticket) }
        guard count > 0 else { throw .zeroLength(address: gpa) }
        let (last, overflow) = gpa.addingReportingOverflow(count &- 1)
        guard !overflow else { throw .wraps(address: gpa, count: count) }
        let table = unsafe publisher.table
        guard var index = unsafe table.pointee.ramIndex(at: gpa) else { throw .notRAM(address: gpa) }
        while true {
            // The table is an UnsafeMutableBufferPointer: index was checked against its count.
            let piece = unsafe table.pointee.ram[index]
            if access == .write, piece.readOnly { throw .readOnly(address: max(gpa, piece.base)) }
            if piece.last >= last { return }
            index &+= 1
            guard unsafe index < table.pointee.ram.count, unsafe table.pointee.ram[index].base == piece.last &+ 1 else {
                throw .crossesEnd(address: gpa, count: count)
            }
        }
    }

    /// The first piece, at most `limit` bytes of it, of a range that may have several.
    /// SAFETY: as `locate`.
    func firstPiece(
        _ gpa: UInt64, _ count: UInt64, _ access: Access, limit: UInt64 = .max
    ) throws(GuestMemoryError) -> (address: UInt, count: UInt64) {
        let table = unsafe publisher.table
        guard count > 0 else { throw .zeroLength(address: gpa) }
        guard let index = unsafe table.pointee.ramIndex(at: gpa) else { throw .notRAM(address: gpa) }
        // SAFETY: ramIndex returns indices inside ram.
        let ram = unsafe table.pointee.ram.baseAddress.unsafelyUnwrapped + index
        if access == .write, unsafe ram.pointee.readOnly { throw .readOnly(address: gpa) }
        let available = unsafe min(ram.pointee.last &- gpa, count &- 1, limit &- 1) &+ 1
        return unsafe (ram.pointee.host &+ UInt(truncatingIfNeeded: gpa &- ram.pointee.base), available)
    }
}
