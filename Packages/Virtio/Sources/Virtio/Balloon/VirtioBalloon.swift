internal import AddressSpace
public import LinuxSys

/// A memory balloon (virtio 1.2, section 5.5): the guest gives pages to the host, by inflating the balloon or by reporting pages that are free, and says how its
/// memory is used.
///
/// Pages go back to the host before the driver has its answer, so nothing is in flight; a page that the guest takes out of the balloon, or uses without a word,
/// is there, and reads zeros. Whatever a guest names, it only ever loses memory of its own.
public final class VirtioBalloon: VirtioDevice {
    public struct Options: Equatable, Sendable {
        /// Offers VIRTIO_BALLOON_F_DEFLATE_ON_OOM.
        public var deflatesOnOOM: Bool
        /// Offers VIRTIO_BALLOON_F_REPORTING.
        public var reportsFreePages: Bool
        /// The balloon follows the guest's need; nil: it only does what it is told.
        public var auto: AutoBalloon?

        public init(deflatesOnOOM: Bool = false, reportsFreePages: Bool = false, auto: AutoBalloon? = nil) {
            self.deflatesOnOOM = deflatesOnOOM
            self.reportsFreePages = reportsFreePages
            self.auto = auto
        }
    }

    /// What a queue is for.
    enum Role { case inflate, deflate, statistics, reporting }

    struct Session {
        let queues: [SplitQueue?]
        let interrupt: VirtioInterrupt
        let memory: GuestMemory
        let features: UInt64
        let control: SessionControl
    }

    /// Linux needs 32 entries for reporting.
    static let queueSize: UInt16 = 128

    public let deviceType: UInt32 = 5
    public let features: UInt64
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { [host.timer.raw] }
    public internal(set) var droppedRequests: UInt64 = 0
    public var counters: [DeviceCounter] { [DeviceCounter("inflated-bytes", inflatedBytes), DeviceCounter("reported-bytes", reportedBytes)] }
    /// The host's side.
    public let host: BalloonHost

    let chain = DescriptorChain(maximumLength: Int(VirtioBalloon.queueSize))
    var session: Session?
    /// Bytes of the first chain of a queue that were seen to in earlier turns: a chain may be longer than one turn is.
    var progress: [UInt64]
    /// Taken from memory when the driver comes.
    var runs = PageRuns(capacity: 0)
    var piece: [UInt8] = []
    /// The buffer that the driver gets back when statistics are due.
    var heldStatistics: UInt16?
    var hasComplained = false
    /// Bytes that went back to the host.
    var inflatedBytes: UInt64 = 0
    var reportedBytes: UInt64 = 0
    /// What the driver writes into free pages (section 5.5.6.5).
    private var poison: UInt32 = 0

    /// For a guest with `memorySize` bytes of RAM. Throws when the host has no timer.
    public init(memorySize: UInt64, options: Options = Options()) throws(Errno) {
        host = try BalloonHost(memorySize: memorySize, auto: options.auto)
        var features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | BalloonFeature.statistics
        if options.deflatesOnOOM { features |= BalloonFeature.deflateOnOOM }
        // Without the poison Linux does not report where it poisons or clears pages itself.
        if options.reportsFreePages { features |= BalloonFeature.reporting | BalloonFeature.pagePoison }
        self.features = features
        queueSizes = [UInt16](repeating: Self.queueSize, count: options.reportsFreePages ? 5 : 3)
        progress = [UInt64](repeating: 0, count: queueSizes.count)
    }

    // MARK: Configuration space

    /// Section 5.5.4: the host's wish, what the balloon holds, nothing (free page hints), and the poison; 32 bits each.
    public func readConfig(offset: Int, size: Int) -> UInt64 {
        let (target, actual, poison) = (host.target, host.actual, poison)
        return ConfigurationSpace.read(offset: offset, size: size) { byte in
            let field: UInt32 =
                switch byte / 4 {
                case 0: target
                case 1: actual
                case 3: poison
                default: 0
                }
            return UInt8(truncatingIfNeeded: field >> UInt32(byte % 4 * 8))
        }
    }

    /// Whole fields only, as section 4.2.2.2 has it.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {
        guard size == 4 else { return }
        switch offset {
        case 4: host.setActual(UInt32(truncatingIfNeeded: value))
        case 12 where features & BalloonFeature.pagePoison != 0: poison = UInt32(truncatingIfNeeded: value)
        default: break
        }
    }

    // MARK: Life

    public func activate(_ session: VirtioSession) {
        self.session = Session(
            queues: session.queues, interrupt: session.interrupt, memory: session.memory, features: session.features, control: session.control)
        if piece.isEmpty {
            runs = PageRuns(capacity: Self.pieceSize / Self.pageNumberSize)
            piece = [UInt8](repeating: 0, count: Self.pieceSize)
        }
        host.armTimer()
    }

    public func drain() -> ServiceResult { .idle }

    public func stopQueue(_ index: Int) {
        progress[index] = 0
        if role(of: index) == .statistics { heldStatistics = nil }
    }

    public func reset() {
        session = nil
        heldStatistics = nil
        for index in progress.indices { progress[index] = 0 }
        poison = 0
        host.timer.disarm()
        host.driverLeft()
    }

    // MARK: Queues

    /// Queues 2 to 4 are for statistics, free page hints and reporting, says section 5.5.2; Linux and QEMU count only those whose feature was negotiated, so that
    /// reporting comes earlier. Since hints are not offered, a driver of either kind finds its queue.
    func role(of index: Int) -> Role? {
        guard let session, session.queues.indices.contains(index) else { return nil }
        switch index {
        case 0: return .inflate
        case 1: return .deflate
        case 2 where session.features & BalloonFeature.statistics != 0: return .statistics
        default: return session.features & BalloonFeature.reporting != 0 ? .reporting : nil
        }
    }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard let session, let role = role(of: index), let queue = session.queues[index] else { return .idle }
        return role == .statistics ? takeStatistics(queue, session) : serve(queue, index, role, session)
    }

    /// Statistics are due.
    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        guard host.timer.drain(), let session else { return .idle }
        // Whether or not the driver has answered the last time.
        host.armTimer()
        guard role(of: 2) == .statistics, let queue = session.queues[2] else { return .idle }
        return requestStatistics(queue, session)
    }

    /// Free pages must keep what the driver has written into them, if it is anything but zeros (section 5.5.6.6.2).
    var keepsReportedPages: Bool { poison != 0 && session.map { $0.features & BalloonFeature.pagePoison != 0 } ?? false }
}
