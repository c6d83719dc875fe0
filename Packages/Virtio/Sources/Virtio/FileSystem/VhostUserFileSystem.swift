public import AddressSpace
internal import LinuxSys

/// A shared folder (virtio 1.2, section 5.11): a program on the host, such as virtiofsd, serves FUSE requests of the guest over vhost-user. This
/// process only introduces the two to each other.
public final class VhostUserFileSystem: VirtioDevice {
    /// Bytes of the configuration's `tag` field.
    public static let tagLimit = 36
    public static let requestQueueLimit = 64
    /// How long to wait for a socket that is not there yet, nanoseconds: virtiofsd may have been started a moment ago.
    public static let connectPatience: UInt64 = 1_000_000_000

    private static let offered = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex
    private static let queueSize: UInt16 = 128

    public let deviceType: UInt32 = 26
    public var features: UInt64 { backEnd.offer.features & Self.offered }
    /// The high priority queue, then the request queues (virtio 1.2, section 5.11.2).
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { [backEnd.eventSource] }
    public var droppedRequests: UInt64 { 0 }

    private let backEnd: VhostUser
    /// Virtio 1.2, section 5.11.4: the tag, padded with zeros, and the number of request queues.
    private var configuration = ConfigurationSpace(size: tagLimit + 4)

    /// Connects to the back end that listens at `path`, and asks what it can do; takes a few seconds at most. `tag` is the name that the guest mounts.
    /// `memory` must be shared (`HostMemory.Options.shared`).
    public static func connect(
        path: String, tag: String, numRequestQueues: Int = 1, memory: GuestMemory
    ) throws(FileSystemError) -> VhostUserFileSystem {
        guard (1...tagLimit).contains(tag.utf8.count), !tag.utf8.contains(0) else { throw FileSystemError(tag: tag, reason: .badTag) }
        guard (1...requestQueueLimit).contains(numRequestQueues) else { throw FileSystemError(tag: tag, reason: .badQueueCount(numRequestQueues)) }
        do throws(VhostUserError) {
            // Before the connection: the back end may serve one front end only.
            _ = try VhostUserMemory.pieces(memory)
            let connection = try VhostUserConnection.connect(path: path, patience: connectPatience)
            return try VhostUserFileSystem(connection, tag: tag, numRequestQueues: numRequestQueues)
        } catch {
            throw FileSystemError(tag: tag, reason: .backEnd(error))
        }
    }

    init(
        _ connection: VhostUserConnection, tag: String, numRequestQueues: Int, limits: VhostUser.Limits = .init()
    ) throws(VhostUserError) {
        let queueCount = 1 + numRequestQueues
        backEnd = try VhostUser(connection, name: FileSystemError.option(tag), needs: VhostUserNeeds(queues: UInt64(queueCount)), limits: limits)
        queueSizes = [UInt16](repeating: Self.queueSize, count: queueCount)
        configuration.put(tag.utf8.prefix(Self.tagLimit), at: 0)
        configuration.put(UInt32(clamping: numRequestQueues), at: Self.tagLimit)
    }

    public func readConfig(offset: Int, size: Int) -> UInt64 { configuration.read(offset: offset, size: size) }

    /// Nothing is writable.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) { backEnd.activate(session) }
    /// Only of a queue that the back end does not serve.
    public func queueNotified(_ index: Int) -> ServiceResult { .idle }
    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult { backEnd.eventSourceReady() }
    public func drain() -> ServiceResult { .idle }
    public func stopQueue(_ index: Int) { backEnd.stopQueue(index) }
    public func prepareReset() -> Bool { backEnd.prepareReset() }
    public func reset() { backEnd.reset() }
}
