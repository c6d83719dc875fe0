public import AddressSpace
internal import LinuxSys

/// The memory of a virtio-mem device in the guest's address space: each chunk that `show` gives is a region of its own, and so a memory slot of its own at the
/// hypervisor. Slots are never made larger: one that is in use cannot be changed without the guest losing it for a moment.
public final class MemoryWindow: PluggableMemory {
    public var size: UInt64 { memory.size }
    public var pageSize: UInt64 { UInt64(memory.pageSize) }
    public let isPreallocated: Bool

    private let memory: HostMemory
    private let name: String
    private let base: UInt64
    private let space: AddressSpace
    /// By the first byte.
    private var shown: [UInt64: Region] = [:]
    private var hasComplained = false

    /// Nothing is shown yet, except to those who map guest memory by themselves (`GuestMemory.announce`). Nothing else is in the address space from `base` on.
    public init(_ memory: HostMemory, name: String, base: UInt64, space: AddressSpace, isPreallocated: Bool = false) {
        self.memory = memory
        self.name = name
        self.base = base
        self.space = space
        self.isPreallocated = isPreallocated
        space.memory.announce(memory, at: base)
    }

    public func show(_ ranges: [Range<UInt64>]) -> Bool {
        let ranges = ranges.filter { shown[$0.lowerBound] == nil }
        guard !ranges.isEmpty else { return true }
        var new: [(start: UInt64, region: Region)] = []
        return change { () throws(AddressSpaceError) in
            for range in ranges {
                let region = try Region.ram(name: name, size: range.upperBound &- range.lowerBound, memory: memory, memoryOffset: range.lowerBound)
                try space.root.add(region, at: base &+ range.lowerBound)
                new.append((range.lowerBound, region))
            }
        } then: {
            for (start, region) in new { shown[start] = region }
        }
    }

    public func hide(_ ranges: [Range<UInt64>]) -> Bool {
        let old = ranges.compactMap { range in shown[range.lowerBound].map { (range.lowerBound, $0) } }
        guard !old.isEmpty else { return true }
        return change { () throws(AddressSpaceError) in
            for (_, region) in old { try space.root.remove(region) }
        } then: {
            for (start, _) in old { shown[start] = nil }
        }
    }

    /// One change of the address space.
    private func change(_ body: () throws(AddressSpaceError) -> Void, then done: () -> Void) -> Bool {
        do throws(AddressSpaceError) {
            try space.transaction(body)
        } catch {
            if !hasComplained { Log.warn("\(name): \(error)") }
            hasComplained = true
            return false
        }
        done()
        return true
    }

    public func populate(_ range: Range<UInt64>) -> Bool { (try? memory.populate(range)) != nil }

    public func discard(_ range: Range<UInt64>) -> Bool { (try? memory.discard(range)) != nil }
}
