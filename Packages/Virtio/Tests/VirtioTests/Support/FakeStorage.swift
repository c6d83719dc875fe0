import BlockBackend
import Glibc
import LinuxSys
import Synchronization

/// A disk in memory. Operations start at `kick` and end at once, or when the test says so.
final class FakeStorage: BlockStorage, @unchecked Sendable {
    let sectorCount: UInt64
    let isReadOnly: Bool
    let supportsDiscard: Bool
    let supportsWriteZeroes: Bool
    let logicalBlockSize: UInt32
    let inFlightLimit: Int
    var completionFD: Int32 { event.raw }

    /// The disk's content. Touched by the device's calls, which are never concurrent.
    var bytes: [UInt8]
    /// Every operation that was started, in order; only kinds, so that a flood does not fill memory.
    var started: [BlockOperation.Kind] = []
    /// Operations wait for `drain` or until this is false.
    var isHolding = false
    /// Holding ends with the reap after this many.
    var reapsToHold = Int.max
    /// The result of the next operations of a kind, instead of doing them.
    var failures: [BlockOperation.Kind: Int32] = [:]
    var records = true
    private(set) var kicks = 0
    private(set) var maximumInFlight = 0

    private var submitted: [BlockOperation] = []
    private var running: [BlockOperation] = []
    private let event: EventFD

    init(
        sectors: UInt64 = 2048, isReadOnly: Bool = false, supportsDiscard: Bool = true, logicalBlockSize: UInt32 = 512, inFlightLimit: Int = 128
    ) throws {
        sectorCount = sectors
        self.isReadOnly = isReadOnly
        self.supportsDiscard = supportsDiscard
        supportsWriteZeroes = supportsDiscard
        self.logicalBlockSize = logicalBlockSize
        self.inFlightLimit = inFlightLimit
        bytes = [UInt8](unsafeUninitializedCapacity: Int(sectors * 512)) { buffer, count in
            // Each sector says which one it is.
            for sector in 0..<Int(sectors) { memset(buffer.baseAddress! + sector * 512, Int32(truncatingIfNeeded: (sector * 7 + 3) & 0xff), 512) }
            count = Int(sectors * 512)
        }
        event = try EventFD()
    }

    var inFlight: Int { submitted.count + running.count }

    func submit(_ operation: BlockOperation) {
        submitted.append(operation)
        maximumInFlight = max(maximumInFlight, inFlight)
    }

    func kick() {
        kicks += 1
        if records { started += submitted.map(\.kind) }
        running += submitted
        submitted.removeAll(keepingCapacity: true)
        if !isHolding, !running.isEmpty { event.signal() }
    }

    /// Lets what waits go on.
    func release() {
        isHolding = false
        if !running.isEmpty { event.signal() }
    }

    func reap(_ body: (UInt64, Int32) -> Void) {
        event.drain()
        if isHolding {
            reapsToHold -= 1
            if reapsToHold > 0 { return }
            isHolding = false
        }
        deliver(body)
    }

    func drain(_ body: (UInt64, Int32) -> Void) {
        repeat {
            kick()
            deliver(body)
        } while inFlight > 0
        event.drain()
    }

    private func deliver(_ body: (UInt64, Int32) -> Void) {
        let finished = running
        running.removeAll(keepingCapacity: true)
        for operation in finished { body(operation.token, perform(operation)) }
    }

    private func perform(_ operation: BlockOperation) -> Int32 {
        if let failure = failures[operation.kind] { return failure }
        let (end, overflow) = operation.offset.addingReportingOverflow(operation.length)
        guard !overflow, end <= UInt64(bytes.count) else { return -EINVAL }
        var position = Int(operation.offset)
        switch operation.kind {
        case .flush: return 0
        case .discard, .writeZeroes:
            guard !isReadOnly else { return -EBADF }
            for index in position..<Int(end) { bytes[index] = 0 }
            return 0
        case .read, .write:
            guard operation.kind == .read || !isReadOnly, let vectors = operation.iovecs else { return -EBADF }
            for index in 0..<Int(operation.iovecCount) {
                let vector = vectors[index]
                guard let base = vector.iov_base, position + vector.iov_len <= Int(end) else { return -EFAULT }
                if operation.kind == .read {
                    bytes.withUnsafeBytes { base.copyMemory(from: $0.baseAddress! + position, byteCount: vector.iov_len) }
                } else {
                    bytes.withUnsafeMutableBytes { ($0.baseAddress! + position).copyMemory(from: base, byteCount: vector.iov_len) }
                }
                position += vector.iov_len
            }
            return position == Int(end) ? Int32(operation.length) : -EIO
        }
    }
}
