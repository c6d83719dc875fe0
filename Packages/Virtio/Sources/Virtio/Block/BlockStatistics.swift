internal import LinuxSys

/// What the disk in a slot has done since it came, as QEMU accounts for it (qapi/block-core.json, BlockDeviceStats). All numbers wrap.
///
/// Kept under the device's lock: `begin` says when a request is handed to the storage, `end` what became of it.
public struct BlockStatistics: Equatable, Sendable {
    /// As the guest sees them: zeroes are written, whatever the host does instead.
    public enum Kind: Sendable {
        case read, write, flush, discard

        var name: String {
            switch self {
            case .read: "read"
            case .write: "write"
            case .flush: "flush"
            case .discard: "discard"
            }
        }
    }

    public struct Operations: Equatable, Sendable {
        /// Those that succeeded, and their bytes.
        public var count: UInt64 = 0
        public var bytes: UInt64 = 0
        /// Nanoseconds from the start to the end, added up.
        public var time: UInt64 = 0
        /// Requests that were served as part of another.
        public var merged: UInt64 = 0
        /// The host could not do it.
        public var failed: UInt64 = 0
        /// The guest asked for something that makes no sense.
        public var invalid: UInt64 = 0
    }

    public private(set) var reads = Operations()
    public private(set) var writes = Operations()
    public private(set) var flushes = Operations()
    public private(set) var discards = Operations()
    /// The end of the write that reached farthest, in bytes.
    public private(set) var highestWrite: UInt64 = 0
    /// CLOCK_MONOTONIC, nanoseconds; nil before the first access.
    public private(set) var lastAccess: UInt64?

    public init() {}

    /// When a request begins, for `end`.
    static func begin() -> UInt64 { Clock.monotonicNanoseconds() }

    /// The storage has done what was begun at `start`.
    mutating func end(_ kind: Kind, offset: UInt64 = 0, bytes: UInt64 = 0, start: UInt64) {
        let now = Clock.monotonicNanoseconds()
        lastAccess = now
        update(kind) { operations in
            operations.count &+= 1
            operations.bytes &+= bytes
            operations.time &+= now > start ? now &- start : 0
        }
        if kind == .write { highestWrite = max(highestWrite, offset &+ bytes) }
    }

    /// The storage could not do what was begun at `start`.
    mutating func fail(_ kind: Kind, start: UInt64) {
        let now = Clock.monotonicNanoseconds()
        lastAccess = now
        update(kind) { operations in
            operations.failed &+= 1
            operations.time &+= now > start ? now &- start : 0
        }
    }

    /// A request that is refused before anything is begun.
    mutating func refuse(_ kind: Kind) { update(kind) { $0.invalid &+= 1 } }

    /// `count` requests went with another, which counts for itself.
    mutating func merge(_ kind: Kind, count: UInt64) { update(kind) { $0.merged &+= count } }

    private mutating func update(_ kind: Kind, _ body: (inout Operations) -> Void) {
        switch kind {
        case .read: body(&reads)
        case .write: body(&writes)
        case .flush: body(&flushes)
        case .discard: body(&discards)
        }
    }
}
