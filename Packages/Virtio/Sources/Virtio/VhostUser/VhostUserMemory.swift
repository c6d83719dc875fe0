internal import AddressSpace

/// Guest memory and rings as a vhost-user back end is told of them.
///
/// The protocol names ring parts by "user addresses", which the back end only compares with those of the memory table. What it gets are guest addresses
/// moved by a constant: where the guest's memory lies in this process is nothing that another program should know.
enum VhostUserMemory {
    /// Above every guest address, page aligned.
    private static let userBase: UInt64 = 1 << 52
    /// Pieces in one table, and descriptors in one message, that every back end takes.
    static let pieceLimit = 8

    static func userAddress(_ guestAddress: UInt64) -> UInt64 { guestAddress &+ userBase }

    /// The memory that is shared: all that the guest may write, which must be in files.
    static func pieces(_ memory: GuestMemory) throws(VhostUserError) -> [RAMMapping] {
        let pieces = memory.writableMappings()
        guard pieces.allSatisfy({ $0.file != nil }) else { throw .memoryNotShared }
        try check(pieces)
        return pieces
    }

    private static func check(_ pieces: [RAMMapping]) throws(VhostUserError) {
        guard pieces.count <= pieceLimit else { throw .tooManyMemoryPieces(pieces.count) }
    }

    /// SET_MEM_TABLE: per piece guest address, size, user address and offset in the file; the files go along.
    static func table(_ pieces: [RAMMapping]) throws(VhostUserError) -> VhostUserMessage {
        try check(pieces)
        var message = VhostUserMessage(.setMemoryTable)
        message.append(UInt32(clamping: pieces.count))
        message.append(UInt32(0))
        for piece in pieces {
            guard let file = piece.file else { continue }
            message.append(piece.base)
            message.append(piece.size)
            message.append(userAddress(piece.base))
            message.append(file.offset)
            message.attach(file.descriptor)
        }
        return message
    }

    /// SET_VRING_ADDR: index, flags (no log), then descriptor table, used ring, available ring and log address.
    static func ring(_ index: UInt32, _ configuration: QueueConfiguration) -> VhostUserMessage {
        var message = VhostUserMessage(.setRingAddresses)
        message.append(index)
        message.append(UInt32(0))
        message.append(userAddress(configuration.descriptorTable))
        message.append(userAddress(configuration.usedRing))
        message.append(userAddress(configuration.availableRing))
        message.append(UInt64(0))
        return message
    }
}
