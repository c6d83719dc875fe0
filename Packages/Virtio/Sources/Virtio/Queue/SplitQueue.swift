public import AddressSpace
internal import LinuxSys
internal import Synchronization

/// A split virtqueue (virtio 1.2, section 2.7), the device's side. Used under the device's lock.
///
/// Size and addresses are checked once, here, and never read from the transport's registers again.
public final class SplitQueue {
    /// Entries; a power of two.
    public let size: UInt16
    /// Descriptors that one chain may have. It is the size that the device offers rather than the one the driver chose: Linux fills indirect
    /// tables up to `seg_max` also on a smaller ring.
    public let maximumChainLength: Int
    /// False after `disable` and after a fault. Not public: see `DescriptorChain`.
    var isEnabled = true
    /// Whoever serves the queue looks at it by himself: the driver is not asked to notify before `arm`.
    var isPolled = false
    /// All that there was has been taken (`enableNotifications`).
    var isAwaited = false

    let memory: GuestMemory
    let finder: HostRangeFinder
    let descriptors: RingArea
    let available: RingArea
    let used: RingArea
    let usesEventIndex: Bool
    let allowsIndirect: Bool

    /// Free-running: which available entry comes next.
    var nextAvailable: UInt16 = 0
    /// What the driver's index was when it was last read.
    var knownAvailable: UInt16 = 0
    /// Free-running: which used entry comes next, and how many of them the driver has been shown.
    var nextUsed: UInt16 = 0
    var publishedUsed: UInt16 = 0
    /// False until the driver has been notified once: there is no old index to compare with.
    var hasNotified = false
    let counters = QueueCounters()
    /// Bytes that the device may read of the chain that was popped last.
    private var lastReadable: UInt64 = 0

    public init(_ configuration: QueueConfiguration, maximumSize: UInt16, features: UInt64, memory: GuestMemory) throws(QueueFault) {
        let wanted = configuration.size
        guard let size = UInt16(exactly: wanted), size > 0, size <= maximumSize, size & (size &- 1) == 0 else { throw .badSize(wanted) }
        self.size = size
        self.memory = memory
        finder = HostRangeFinder(memory)
        maximumChainLength = Int(maximumSize)
        usesEventIndex = features & VirtioFeature.eventIndex != 0
        allowsIndirect = features & VirtioFeature.indirectDescriptors != 0
        let entries = UInt64(size)
        // The two bytes of used_event and avail_event exist only with the feature; the sizes of section 2.7 always count them.
        descriptors = try Self.area(at: configuration.descriptorTable, count: 16 * entries, alignment: 16, .read, memory)
        available = try Self.area(at: configuration.availableRing, count: 6 + 2 * entries, alignment: 2, .read, memory)
        used = try Self.area(at: configuration.usedRing, count: 6 + 8 * entries, alignment: 4, .write, memory)
    }

    private static func area(
        at address: UInt64, count: UInt64, alignment: UInt64, _ access: GuestMemory.Access, _ memory: GuestMemory
    ) throws(QueueFault) -> RingArea {
        guard address % alignment == 0 else { throw .misalignedRing }
        let range: HostRange
        do { range = try memory.hostRange(at: address, count: count, for: access) } catch { throw .ringOutsideRAM }
        // The host address counts for atomic accesses: RAM placed at an odd offset of its mapping cannot hold rings.
        guard range.address % UInt(alignment) == 0 else { throw .misalignedRing }
        return RingArea(range)
    }

    /// The driver took the queue back (QueueReady = 0), or broke it: it is not touched again.
    public func disable() { isEnabled = false }

    // MARK: Available ring

    /// Takes the next chain; false when there is none. After a fault the queue is disabled.
    public func pop(into chain: DescriptorChain) throws(QueueFault) -> Bool {
        guard isEnabled else { return false }
        do throws(QueueFault) {
            if nextAvailable == knownAvailable {
                guard try refreshAvailable() else { return false }
            }
            let head = available.load16(4 &+ 2 &* Int(nextAvailable & (size &- 1)))
            guard head < size else { throw QueueFault.headOutOfRange(head) }
            try walk(from: head, into: chain)
        } catch {
            isEnabled = false
            throw error
        }
        nextAvailable &+= 1
        lastReadable = chain.readableBytes
        counters.bytesFromGuest.add(lastReadable)
        return true
    }

    /// Puts back the chain that was popped last: it has to wait.
    public func undoPop() {
        nextAvailable &-= 1
        counters.bytesFromGuest.subtract(lastReadable)
        lastReadable = 0
        counters.stalls.add()
    }

    /// Reads the driver's index; true when there is something new.
    func refreshAvailable() throws(QueueFault) -> Bool {
        let index = available.loadAcquire16(2)
        let waiting = index &- nextAvailable
        guard waiting <= size else {
            isEnabled = false
            throw .availableIndexJump(waiting)
        }
        knownAvailable = index
        return waiting != 0
    }

    /// Chains that the driver had made available when its index was last read.
    var waitingCount: UInt16 { knownAvailable &- nextAvailable }

    // MARK: Used ring

    /// Gives chain `head` back with `written` bytes written into it. The driver sees it after `publish`.
    public func push(head: UInt16, written: UInt32) {
        guard isEnabled else { return }
        let entry = 4 &+ 8 &* Int(nextUsed & (size &- 1))
        used.store32(UInt32(head), entry)
        used.store32(written, entry &+ 4)
        nextUsed &+= 1
        counters.requests.add()
        counters.bytesToGuest.add(UInt64(written))
    }

    /// Chains that were given back and not yet shown to the driver.
    var unpublishedCount: UInt16 { nextUsed &- publishedUsed }

    /// Shows the driver what was pushed; true when it wants an interrupt for it (virtio 1.2, section 2.7.7.2).
    public func publish() -> Bool {
        let old = publishedUsed
        let new = nextUsed
        guard isEnabled, new != old else { return false }
        used.storeRelease16(new, 2)
        publishedUsed = new
        // The index must be visible before the driver's wish is read: it sets the wish, then looks at the index.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let isWanted = wantsInterrupt(from: old, to: new)
        if isWanted { counters.interrupts.add() }
        return isWanted
    }

    private func wantsInterrupt(from old: UInt16, to new: UInt16) -> Bool {
        guard usesEventIndex else { return available.load16(0) & 1 == 0 }
        let event = available.load16(4 &+ 2 &* Int(size))
        defer { hasNotified = true }
        return !hasNotified || Self.crosses(event, from: old, to: new)
    }

    /// Whether an index that moved from `old` to `new` has passed `event`, all modulo 2^16 (virtio 1.2, section 2.7.7.1: the
    /// entry at `event` was written).
    @inline(__always)
    static func crosses(_ event: UInt16, from old: UInt16, to new: UInt16) -> Bool {
        (new &- event &- 1) < (new &- old)
    }
}
