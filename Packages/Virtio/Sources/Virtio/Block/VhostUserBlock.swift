public import AddressSpace
internal import LinuxSys

/// A disk (virtio 1.2, section 5.2) that another program on the host serves over vhost-user, such as qemu-storage-daemon or SPDK. This process introduces the two to
/// each other; when the program dies it looks for the next one, which does what was left undone: the guest sees a pause.
public final class VhostUserBlock: VirtioDevice {
    public static let queueLimit = 32
    /// Entries of each queue.
    public static let queueSizes = UInt16(4)...UInt16(1024)
    /// How long to wait for a socket that is not there yet, nanoseconds: the program may have been started a moment ago.
    public static let connectPatience: UInt64 = 1_000_000_000

    /// Where the program listens, and what the user chooses.
    public struct Options: Sendable {
        /// For messages.
        public var chardev: String
        public var path: String
        /// 1...`queueLimit`; nil: `defaultQueues`, or as many as the program has when those are less.
        public var queues: Int?
        /// As many as there are vCPUs.
        public var defaultQueues: Int
        /// A power of two in `queueSizes`.
        public var queueSize: UInt16

        public init(chardev: String, path: String, queues: Int? = nil, defaultQueues: Int = 1, queueSize: UInt16 = 256) {
            self.chardev = chardev
            self.path = path
            self.queues = queues
            self.defaultQueues = defaultQueues
            self.queueSize = queueSize
        }

        var option: String { "-device vhost-user-blk-device,chardev=\(chardev)" }
    }

    private static let offered =
        VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | BlockFeature.sizeMaximum
        | BlockFeature.segmentMaximum | BlockFeature.readOnly | BlockFeature.blockSize | BlockFeature.flush | BlockFeature.topology
        | BlockFeature.multiqueue | BlockFeature.discard | BlockFeature.writeZeroes

    public let deviceType: UInt32 = 2
    public var features: UInt64 {
        var features = backEnd.offer.features & Self.offered
        if queueSizes.count == 1 { features &= ~BlockFeature.multiqueue }
        // qemu-storage-daemon says that there is a limit, and that it is 0; Linux would cut every request into pages.
        if !configuration.hasSizeMaximum { features &= ~BlockFeature.sizeMaximum }
        return features
    }
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { [backEnd.eventSource] }
    public var droppedRequests: UInt64 { 0 }

    let backEnd: VhostUser
    private var configuration: VhostUserBlockConfiguration

    /// Connects to the program that listens at `options.path`, and asks what it can do; takes a few seconds at most. `memory` must be shared
    /// (`HostMemory.Options.shared`).
    public static func connect(_ options: Options, memory: GuestMemory) throws(VhostUserDeviceError) -> VhostUserBlock {
        do throws(VhostUserError) {
            // Before the connection: the back end may serve one front end only.
            _ = try VhostUserMemory.pieces(memory)
            let connection = try VhostUserConnection.connect(path: options.path, patience: connectPatience)
            return try VhostUserBlock(connection, options) { [path = options.path] () throws(VhostUserError) in
                try VhostUserConnection.connect(path: path, patience: 0)
            }
        } catch {
            throw VhostUserDeviceError(option: options.option, error: error)
        }
    }

    init(
        _ connection: VhostUserConnection, _ options: Options, limits: VhostUser.Limits = .init(), dial: VhostUser.Dial?
    ) throws(VhostUserError) {
        var needs = VhostUserNeeds(queues: 1, configurationSize: VhostUserBlockConfiguration.size, replays: true)
        needs.check = { (offer) throws(VhostUserError) in _ = try VhostUserBlockConfiguration(offer.configuration, queues: 1, queueSize: .max) }
        backEnd = try VhostUser(connection, name: options.option, needs: needs, limits: limits, dial: dial)
        let offer = backEnd.offer
        let available = offer.features & BlockFeature.multiqueue != 0 ? Int(clamping: offer.queues ?? 1) : 1
        let queues = min(options.queues ?? min(options.defaultQueues, available), Self.queueLimit)
        guard (1...available).contains(queues) else { throw .tooFewQueues(offered: UInt64(available), needed: queues) }
        backEnd.needs.queues = UInt64(queues)
        queueSizes = [UInt16](repeating: options.queueSize, count: queues)
        configuration = try VhostUserBlockConfiguration(offer.configuration, queues: UInt16(queues), queueSize: options.queueSize)
    }

    public func readConfig(offset: Int, size: Int) -> UInt64 { configuration.read(offset: offset, size: size) }

    /// Nothing is writable: the cache's mode is not offered.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) { backEnd.activate(session) }
    /// Of a queue that this process passes on.
    public func queueNotified(_ index: Int) -> ServiceResult { backEnd.serve(queue: index) }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        let result = backEnd.eventSourceReady()
        guard backEnd.takeNews(), result == .idle else { return result }
        // What was checked when it came.
        guard
            let new = try? VhostUserBlockConfiguration(
                backEnd.offer.configuration, queues: UInt16(clamping: queueSizes.count), queueSize: queueSizes.first ?? 0),
            new != configuration
        else { return .idle }
        configuration = new
        return .configurationChanged
    }

    public func drain() -> ServiceResult { .idle }
    public func stopQueue(_ index: Int) { backEnd.stopQueue(index) }
    public func prepareReset() -> Bool { backEnd.prepareReset() }
    public func reset() { backEnd.reset() }
}

/// `struct virtio_blk_config` (virtio 1.2, section 5.2.4) as a back end tells it, as far as it can be.
struct VhostUserBlockConfiguration: Equatable {
    /// Up to `write_zeroes_may_unmap` and its padding.
    static let size = BlockConfigurationSpace.size
    /// Bytes, and sectors of 512 of them, must fit a signed 64-bit offset.
    private static let largestCapacity: UInt64 = 1 << 54

    private var bytes = ConfigurationSpace(size: size)
    let hasSizeMaximum: Bool

    init(_ told: [UInt8], queues: UInt16, queueSize: UInt16) throws(VhostUserError) {
        bytes.put(told.prefix(Self.size), at: 0)
        guard told.count == Self.size, bytes.read(offset: 0, size: 8) <= Self.largestCapacity else { throw .violation(.configuration) }
        hasSizeMaximum = bytes.read(offset: 8, size: 4) != 0
        // Two descriptors of a request are not data; a driver without indirect descriptors must be able to queue the largest.
        let segments = UInt32(truncatingIfNeeded: bytes.read(offset: 12, size: 4))
        bytes.put(min(segments, UInt32(max(queueSize, 3)) - 2), at: 12)
        bytes.put(queues, at: 34)
    }

    func read(offset: Int, size: Int) -> UInt64 { bytes.read(offset: offset, size: size) }
}
