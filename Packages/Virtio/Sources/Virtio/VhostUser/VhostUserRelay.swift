internal import AddressSpace
internal import CVhostUser
internal import LinuxSys

/// One queue of a back end that may die and does not note what it was doing.
///
/// The guest's rings do not tell which requests are still to be done: requests end in any order, and both rings forget what is older than their size. So the back
/// end gets rings of its own, which this process fills and empties: of a request only the head's number passes through here, descriptors and data stay where
/// they are. Heads that a dead back end has not given back go to the next one, in the order in which they came; a request that had been done all but
/// for that is done once more, which for a disk is the same.
///
/// Under the device's lock. Nothing is allocated while requests move.
final class VhostUserRelay {
    let index: UInt32
    private let queue: SplitQueue
    /// When the back end's each head became: a running number; 0: it is the driver's.
    private var turns: [UInt64]
    private var lastTurn: UInt64 = 0
    private var outstanding: UInt16 = 0
    /// Nil while there is no back end.
    private var rings: Rings?
    private var nextAvailable: UInt16 = 0
    private var nextUsed: UInt16 = 0
    /// Notifies the back end: a pipe, whose end here stays non-blocking whatever the other process does to its own. An eventfd would be the same for both.
    private let kickEnd: OwnedFD
    private let backEndKickEnd: OwnedFD
    private static let kick: [UInt8] = [1, 0, 0, 0, 0, 0, 0, 0]

    /// The back end's rings: parts of memory that it maps.
    struct Rings {
        let available: RingArea
        let used: RingArea
    }

    init(index: UInt32, queue: SplitQueue) throws(VhostUserError) {
        self.index = index
        self.queue = queue
        turns = [UInt64](repeating: 0, count: Int(queue.size))
        var ends: [Int32] = [-1, -1]
        do throws(Errno) { try checked(unsafe cvhostuser_pipe(&ends)) } catch { throw .socket(error) }
        backEndKickEnd = OwnedFD(adopting: ends[0])
        kickEnd = OwnedFD(adopting: ends[1])
    }

    /// For SET_VRING_KICK.
    var kickDescriptor: Int32 { backEndKickEnd.raw }

    // MARK: Back ends

    /// A back end will serve `rings`, which are zero; what the last one left goes first.
    func attach(_ rings: Rings) {
        self.rings = rings
        nextAvailable = 0
        nextUsed = 0
        for head in turns.indices.filter({ turns[$0] != 0 }).sorted(by: { turns[$0] < turns[$1] }) { offer(UInt16(truncatingIfNeeded: head)) }
        publish()
    }

    /// There is no back end any more.
    func detach() { rings = nil }

    // MARK: Requests

    /// Passes on what the driver has queued, at most a queue full; true when there may be more.
    func serve() throws(QueueFault) -> Bool {
        let before = nextAvailable
        defer { if nextAvailable != before { publish() } }
        queue.disableNotifications()
        for _ in 0..<queue.size {
            if let head = try queue.popHead() {
                // A driver that offers what it has offered already: nobody could tell the two apart.
                guard turns[Int(head)] == 0 else {
                    queue.disable()
                    throw .headInUse(head)
                }
                lastTurn &+= 1
                turns[Int(head)] = lastTurn
                outstanding &+= 1
                offer(head)
            } else if try !queue.enableNotifications() {
                return false
            }
        }
        return true
    }

    /// There is room: no head is in the ring twice, and there are no more heads than entries.
    private func offer(_ head: UInt16) {
        guard let rings else { return }
        rings.available.store16(head, 4 &+ 2 &* Int(nextAvailable & (queue.size &- 1)))
        nextAvailable &+= 1
    }

    private func publish() {
        guard let rings else { return }
        rings.available.storeRelease16(nextAvailable, 2)
        // Full: the back end has not looked yet, and will.
        _ = try? kickEnd.write(Self.kick)
    }

    /// Gives back what the back end has done; true when the driver wants an interrupt for it. `.brokenRing` when the back end gives back what it does not
    /// have: nothing that it says then counts.
    func collect() throws(VhostUserError) -> Bool {
        guard let rings else { return false }
        let count = rings.used.loadAcquire16(2) &- nextUsed
        guard count <= outstanding else { throw .brokenRing }
        for place in 0..<count {
            let entry = 4 &+ 8 &* Int((nextUsed &+ place) & (queue.size &- 1))
            // Fetched once: the back end may change it.
            let (head, written) = (rings.used.load32(entry), rings.used.load32(entry &+ 4))
            guard head < UInt32(queue.size), turns[Int(head)] != 0 else {
                nextUsed &+= place
                throw .brokenRing
            }
            turns[Int(head)] = 0
            outstanding &-= 1
            queue.push(head: UInt16(truncatingIfNeeded: head), written: written)
        }
        nextUsed &+= count
        return queue.publish()
    }
}

/// The rings of all relayed queues in one piece of memory, made anew for each back end: one that hung up may have the old ones still.
struct VhostUserRings {
    /// In the back end's table of memory, above all guest RAM.
    private static let base: UInt64 = 1 << 51

    private let memory: HostMemory
    private let places: [(available: UInt64, used: UInt64)]

    /// `sizes`: entries of each ring, powers of two.
    init(sizes: [UInt16]) throws(VhostUserError) {
        var end: UInt64 = 0
        // Virtio 1.2, section 2.7: sizes and alignments of both parts.
        places = sizes.map { size in
            let available = (end + 3) & ~3
            let used = (available + 6 + 2 * UInt64(size) + 3) & ~3
            end = used + 6 + 8 * UInt64(size)
            return (available, used)
        }
        do throws(AddressSpaceError) {
            memory = try HostMemory.anonymous(size: (end + HostPages.size - 1) & ~(HostPages.size - 1), name: "vhost-user-rings", options: .shared)
        } catch {
            throw .socket(.noMemory)
        }
    }

    /// For SET_MEM_TABLE.
    var piece: RAMMapping {
        RAMMapping(base: Self.base, size: memory.size, address: memory.address, file: .init(descriptor: memory.fileDescriptor, offset: memory.fileOffset))
    }

    func rings(_ place: Int, size: UInt16) -> VhostUserRelay.Rings {
        VhostUserRelay.Rings(
            available: RingArea(memory, offset: places[place].available, count: 6 + 2 * Int(size)),
            used: RingArea(memory, offset: places[place].used, count: 6 + 8 * Int(size)))
    }

    /// The guest's queue with these rings in place of its own.
    func configuration(_ place: Int, _ guest: QueueConfiguration) -> QueueConfiguration {
        var configuration = guest
        configuration.availableRing = Self.base + places[place].available
        configuration.usedRing = Self.base + places[place].used
        return configuration
    }
}
