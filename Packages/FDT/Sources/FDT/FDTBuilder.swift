/// Builds a flattened device tree (Devicetree Specification 0.4, chapter 5) from the root down with libfdt's sequential
/// writer. One thread at a time; the caller keeps it to itself.
public struct FDTBuilder: ~Copyable {
    /// A block of memory that the kernel must leave alone.
    public struct Reservation: Equatable, Sendable {
        public let address: UInt64
        /// In bytes, not 0.
        public let size: UInt64

        public init(address: UInt64, size: UInt64) {
            self.address = address
            self.size = size
        }
    }

    /// The loader keeps 64 KiB of guest memory for the tree.
    public static let defaultLimit = 64 << 10

    private var blob: FDTBlob
    private var depth = 0
    private var rootEnded = false
    /// A node's properties come before its children (section 5.4.2); libfdt would not notice.
    private var takesProperties = false

    /// - Parameter limit: most bytes the tree may have, 4 KiB or more.
    public init(limit: Int = Self.defaultLimit, reservations: [Reservation] = []) throws(FDTError) {
        blob = FDTBlob(limit: limit)
        try blob.perform(.create)
        for reservation in reservations {
            // A size of 0 ends the list for every reader.
            guard reservation.size > 0 else { throw .emptyReservation }
            try blob.perform(.reserve(address: reservation.address, size: reservation.size))
        }
        try blob.perform(.finishReservations)
    }

    /// Begins a node inside the current one; the first is the root, whose name is empty.
    public mutating func beginNode(_ name: String) throws(FDTError) {
        guard !rootEnded else { throw .badNesting }
        guard name.isEmpty == (depth == 0), !name.utf8.contains(0) else { throw .badName }
        try blob.perform(.beginNode(name))
        depth += 1
        takesProperties = true
    }

    public mutating func endNode() throws(FDTError) {
        guard depth > 0 else { throw .badNesting }
        try blob.perform(.endNode)
        depth -= 1
        takesProperties = false
        rootEnded = depth == 0
    }

    /// A node whose properties and children `body` adds.
    public mutating func node(
        _ name: String, _ body: (inout FDTBuilder) throws(FDTError) -> Void
    ) throws(FDTError) {
        try beginNode(name)
        try body(&self)
        try endNode()
    }

    /// A property of the current node, before its first child.
    public mutating func property(_ name: String, bytes: [UInt8]) throws(FDTError) {
        guard takesProperties else { throw .badNesting }
        guard !name.isEmpty, !name.utf8.contains(0) else { throw .badName }
        guard bytes.count <= blob.limit, let count = Int32(exactly: bytes.count) else {
            throw .tooLarge(limit: blob.limit)
        }
        try blob.perform(.property(name, bytes, count: count))
    }

    /// Ends the tree and hands out its bytes, packed.
    public consuming func finish() throws(FDTError) -> [UInt8] {
        guard rootEnded else { throw .badNesting }
        try blob.perform(.finish)
        return blob.bytes()
    }
}
