import AddressSpace
import LinuxSys
import Synchronization

/// Remembers its accesses; a read returns `answer`, or the offset.
final class RecordingOps: RegionOps {
    struct Call: Equatable {
        let offset: UInt64
        let size: Int
        var value: UInt64 = 0
    }

    let answer: UInt64?
    private let log = Mutex<(reads: [Call], writes: [Call])>(([], []))

    init(answer: UInt64? = nil) { self.answer = answer }

    func read(offset: UInt64, size: Int) -> UInt64 {
        log.withLock { $0.reads.append(Call(offset: offset, size: size)) }
        return answer ?? offset
    }

    func write(offset: UInt64, size: Int, value: UInt64) {
        log.withLock { $0.writes.append(Call(offset: offset, size: size, value: value)) }
    }

    var reads: [Call] { log.withLock { $0.reads } }
    var writes: [Call] { log.withLock { $0.writes } }
}

/// Runs closures as a device, for devices that change the address space.
final class ClosureOps: RegionOps {
    let onWrite: @Sendable (UInt64) -> Void
    init(onWrite: @escaping @Sendable (UInt64) -> Void) { self.onWrite = onWrite }
    func read(offset: UInt64, size: Int) -> UInt64 { 0 }
    func write(offset: UInt64, size: Int, value: UInt64) { onWrite(value) }
}

/// Applies the differences it is told, complains about wrong ones, and fails when asked to.
final class RecordingListener: AddressSpaceListener {
    struct State {
        var ranges: [FlatRange] = []
        var events: [IOEventFD] = []
        var rangeCalls: [(removed: [FlatRange], added: [FlatRange])] = []
        var eventCalls: [(removed: [IOEventFD], added: [IOEventFD])] = []
        var complaints: [String] = []
        var failsOnRanges = false
        var failsOnEvents = false
        var action: (@Sendable () -> Void)?
    }

    let state = Mutex(State())

    func regionsChanged(removed: [FlatRange], added: [FlatRange]) throws(AddressSpaceError) {
        let (fails, action) = state.withLock { ($0.failsOnRanges, $0.action) }
        if fails { throw .listener("map", .noMemory) }
        action?()
        state.withLock { state in
            state.rangeCalls.append((removed, added))
            for range in removed {
                guard let index = state.ranges.firstIndex(of: range) else {
                    state.complaints.append("removed what was not there: \(range.base)")
                    continue
                }
                state.ranges.remove(at: index)
            }
            for range in added {
                if state.ranges.contains(where: { $0.base < range.end && range.base < $0.end }) {
                    state.complaints.append("added over another: \(range.base)")
                }
                state.ranges.append(range)
            }
            state.ranges.sort { $0.base < $1.base }
        }
    }

    func ioEventFDsChanged(removed: [IOEventFD], added: [IOEventFD]) throws(AddressSpaceError) {
        if state.withLock({ $0.failsOnEvents }) { throw .listener("assign ioeventfd", .exists) }
        state.withLock { state in
            state.eventCalls.append((removed, added))
            for event in removed {
                guard let index = state.events.firstIndex(of: event) else {
                    state.complaints.append("removed an event that was not there")
                    continue
                }
                state.events.remove(at: index)
            }
            state.events += added
        }
    }

    var ranges: [FlatRange] { state.withLock { $0.ranges } }
    var events: [IOEventFD] { state.withLock { $0.events } }
    var complaints: [String] { state.withLock { $0.complaints } }
    var rangeCallCount: Int { state.withLock { $0.rangeCalls.count } }
    var eventCallCount: Int { state.withLock { $0.eventCalls.count } }
}

/// SplitMix64: the same seed gives the same tree on every machine.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// "name@base+size(offset)" of each range, for short expectations.
func layout(_ space: AddressSpace) -> [String] {
    space.flatRanges().map { "\($0.region.name)@\($0.base)+\($0.size)(\($0.offsetInRegion))" }
}

func io(_ name: String, _ size: UInt64, _ ops: any RegionOps = RecordingOps()) throws(AddressSpaceError) -> Region {
    try .io(name: name, size: size, ops: ops)
}

func ram(_ name: String, _ size: UInt64, readOnly: Bool = false) throws(AddressSpaceError) -> Region {
    try .ram(name: name, size: size, memory: .anonymous(size: size), readOnly: readOnly)
}
