internal import AddressSpace
internal import LinuxSys

/// A virtio entropy device (virtio 1.2, section 5.4) over a character device of the host.
///
/// The source is read without waiting; when it has nothing, or the quota is spent, the guest's buffers wait for a timer. A buffer is filled in part
/// when there is less (section 5.4.6.1 allows it).
public final class VirtioRng: VirtioDevice {
    /// `maximumBytes` in each period of `periodMilliseconds`; together 64 to 1e9 bytes a second.
    public struct Rate: Equatable, Sendable {
        public var maximumBytes: UInt64
        public var periodMilliseconds: UInt64

        public init(maximumBytes: UInt64, periodMilliseconds: UInt64) {
            self.maximumBytes = maximumBytes
            self.periodMilliseconds = periodMilliseconds
        }
    }

    static let queueSize: UInt16 = 256
    /// The most bytes of one request, whatever its descriptors add up to (the class of Firecracker PR 5762).
    static let largestRequest: UInt64 = 64 << 10
    /// Bytes read before the others on the event loop have their turn (the class of Firecracker issue 5260).
    static let budget = 256 << 10
    static let pieceSize = 4096
    /// Nanoseconds until a source without bytes is asked again: doubled each time up to the second.
    static let firstRetry: UInt64 = 10_000_000
    static let lastRetry: UInt64 = 1_000_000_000

    private struct Session {
        let queue: SplitQueue
        let interrupt: VirtioInterrupt
        /// Keeps guest RAM mapped.
        let memory: GuestMemory
    }

    public let deviceType: UInt32 = 4
    public let features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
    public let queueSizes = [VirtioRng.queueSize]
    public var eventSources: [Int32] { [timer.raw] }
    public private(set) var droppedRequests: UInt64 = 0

    private let sourcePath: String
    private let source: OwnedFD
    private let timer: TimerFD
    private let chain = DescriptorChain(maximumLength: Int(VirtioRng.queueSize))
    private var quota: EntropyQuota?
    private var piece: [UInt8] = []
    private var session: Session?
    /// The timer goes on with the queue.
    private var isWaiting = false
    private var retry = VirtioRng.firstRetry
    private var hasComplained = false

    /// Opens the source, for example "/dev/urandom" or "/dev/hwrng".
    public init(sourcePath: String, rate: Rate? = nil) throws(EntropyError) {
        if let rate { quota = try EntropyQuota(rate) }
        self.sourcePath = sourcePath
        do throws(Errno) { timer = try TimerFD() } catch { throw .host(error) }
        source = try Self.open(sourcePath)
    }

    private static func open(_ path: String) throws(EntropyError) -> OwnedFD {
        do throws(Errno) {
            // Non-blocking: a FIFO without a writer would wait here for ever.
            let file = try SysFile.open(path, [.readOnly, .nonBlocking, .noControllingTerminal])
            if try SysFile.status(of: file).kind == .characterDevice { return file }
        } catch {
            throw .cannotOpen(path: path, error)
        }
        throw .notACharacterDevice(path: path)
    }

    /// There is no configuration space (section 5.4.4).
    public func readConfig(offset: Int, size: Int) -> UInt64 { 0 }
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    // MARK: Life

    public func activate(_ session: VirtioSession) {
        guard let first = session.queues.first, let queue = first else { return }
        self.session = Session(queue: queue, interrupt: session.interrupt, memory: session.memory)
        if piece.isEmpty { piece = [UInt8](repeating: 0, count: Self.pieceSize) }
    }

    /// Nothing is ever in flight: requests that wait for the source are still in the queue.
    public func drain() -> ServiceResult { .idle }

    public func reset() {
        session = nil
        isWaiting = false
        timer.disarm()
        // The quota stays: a reset is no way to more.
    }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard index == 0, !isWaiting else { return .idle }
        return serve()
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        guard timer.drain() else { return .idle }
        isWaiting = false
        return serve()
    }

    // MARK: Requests

    private func serve() -> ServiceResult {
        guard let session else { return .idle }
        let queue = session.queue
        defer { if queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) } }
        queue.disableNotifications()
        var budget = Self.budget
        do {
            while budget > 0 {
                guard try queue.pop(into: chain) else {
                    if try queue.enableNotifications() { continue }
                    return .idle
                }
                guard chain.writableBytes > 0 else {
                    // Nothing to fill: the driver has it back as it is (the class of Cloud Hypervisor PR 8401).
                    droppedRequests &+= 1
                    queue.push(head: chain.head, written: 0)
                    budget &-= Self.pieceSize
                    continue
                }
                let filled = fill(min(chain.writableBytes, Self.largestRequest))
                guard filled > 0 else {
                    queue.undoPop()
                    isWaiting = true
                    return .idle
                }
                queue.push(head: chain.head, written: UInt32(truncatingIfNeeded: filled))
                // Small requests cost a system call each too.
                budget &-= max(Int(filled), 1024)
            }
        } catch {
            return .fault(.needsReset(error))
        }
        return .again
    }

    /// Fills up to `wanted` bytes of the chain and says how many; 0 when it has set the timer.
    private func fill(_ wanted: UInt64) -> UInt64 {
        var limit = wanted
        if quota != nil {
            let now = Clock.monotonicNanoseconds()
            limit = min(limit, quota?.allowance(at: now) ?? 0)
            guard limit > 0 else {
                timer.arm(nanoseconds: quota?.wait(at: now) ?? 0)
                return 0
            }
        }
        var filled: UInt64 = 0
        while filled < limit {
            let count = read(Int(min(limit &- filled, UInt64(Self.pieceSize))))
            guard count > 0 else { break }
            filled &+= UInt64(chain.copyIn(piece.span.extracting(0..<count), at: filled))
        }
        if filled == 0 {
            timer.arm(nanoseconds: retry)
            retry = min(retry &* 2, Self.lastRetry)
        } else {
            retry = Self.firstRetry
            quota?.spend(filled)
        }
        return filled
    }

    /// Bytes now in `piece`. An error or the end of the source may pass, as when a device is plugged in again.
    private func read(_ limit: Int) -> Int {
        let failure: Errno?
        do throws(Errno) {
            let count = try source.read(into: &piece, limit: limit)
            if count > 0 { return min(count, limit) }
            failure = nil
        } catch {
            if error == .again { return 0 }
            failure = error
        }
        if !hasComplained {
            hasComplained = true
            Log.warn("virtio-rng: \(sourcePath) gives no bytes: \(failure.map(\.description) ?? "end of file"); the guest waits")
        }
        return 0
    }
}
