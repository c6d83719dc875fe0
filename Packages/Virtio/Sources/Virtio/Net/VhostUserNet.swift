public import AddressSpace
internal import LinuxSys

/// A network device (virtio 1.2, section 5.1) whose packets another program on the host moves over vhost-user, such as a software switch. The link is up while the
/// program is there; when it dies, another one is looked for.
///
/// The control queue is served here: frames are not filtered, as with vhost-net. Packets that a dead program had taken are lost, as packets may be.
public final class VhostUserNet: VirtioDevice {
    /// How long to wait for a socket that is not there yet, nanoseconds: the program may have been started a moment ago.
    public static let connectPatience: UInt64 = 1_000_000_000

    private static let offered =
        VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | NetFeature.offloads | NetFeature.udpFragmentation
        | NetFeature.mergeableBuffers

    public let deviceType: UInt32 = 1
    public var features: UInt64 { backEnd.offer.features & (Self.offered | (pairs > 1 ? NetFeature.multiqueue : 0)) | NetFeature.own }
    public let queueSizes: [UInt16]
    public var eventSources: [Int32] { [backEnd.eventSource] }
    /// Commands of the control queue that made no sense.
    public private(set) var droppedRequests: UInt64 = 0

    private let backEnd: VhostUser
    private let pairs: Int
    private let permanentMAC: MACAddress
    private var configuration: NetConfigurationSpace
    private let controlChain: DescriptorChain
    private var session: VirtioSession?
    /// Pairs that the driver uses, from the first on.
    private var activePairs = 1
    private var isLinkEnabled = true

    /// Connects to the program that listens at `path`, and asks what it can do; takes a few seconds at most. `memory` must be shared
    /// (`HostMemory.Options.shared`).
    public static func connect(netdev: String, path: String, options: NetOptions, memory: GuestMemory) throws(VhostUserDeviceError) -> VhostUserNet {
        let option = "-netdev \(netdev)"
        do throws(VhostUserError) {
            // Before the connection: the back end may serve one front end only.
            _ = try VhostUserMemory.pieces(memory)
            let connection = try VhostUserConnection.connect(path: path, patience: connectPatience)
            return try VhostUserNet(connection, option, options) { () throws(VhostUserError) in try VhostUserConnection.connect(path: path, patience: 0) }
        } catch {
            throw VhostUserDeviceError(option: option, error: error)
        }
    }

    init(
        _ connection: VhostUserConnection, _ option: String, _ options: NetOptions, limits: VhostUser.Limits = .init(), dial: VhostUser.Dial?
    ) throws(VhostUserError) {
        pairs = options.offersMultiqueue ? options.pairs : 1
        // Of a network device GET_QUEUE_NUM counts pairs.
        backEnd = try VhostUser(connection, name: option, needs: VhostUserNeeds(queues: UInt64(pairs)), limits: limits, dial: dial)
        if pairs > 1, backEnd.offer.features & NetFeature.multiqueue == 0 || backEnd.offer.queues == nil {
            throw .tooFewQueues(offered: 1, needed: pairs)
        }
        queueSizes = [UInt16](repeating: options.size, count: 2 * pairs) + [VirtioNet.controlQueueSize]
        // Without MQ the control queue is the third, whatever its size (virtio 1.2, section 5.1.2).
        controlChain = DescriptorChain(maximumLength: max(Int(options.size), Int(VirtioNet.controlQueueSize)))
        permanentMAC = options.mac
        configuration = NetConfigurationSpace(mac: options.mac, isLinkUp: true, queuePairs: UInt16(clamping: pairs))
        backEnd.enabledRings = 2
    }

    /// As if the cable was plugged in or out. Inside `VirtioMMIODevice.update`; the caller tells the guest (`configurationChanged`).
    public func setLink(up: Bool) {
        isLinkEnabled = up
        configuration.isLinkUp = up && backEnd.isConnected
        enableRings()
    }

    /// What the driver sees in `status`.
    public var isLinkUp: Bool { configuration.isLinkUp }

    // MARK: The driver's side

    public func readConfig(offset: Int, size: Int) -> UInt64 { configuration.read(offset: offset, size: size) }

    /// Nothing is writable: the address is set by a command.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) {
        self.session = session
        backEnd.activate(session, count: 2 * dataPairs(session))
    }

    /// Queue pairs that the driver knows of.
    private func dataPairs(_ session: VirtioSession) -> Int { session.features & NetFeature.multiqueue != 0 ? pairs : 1 }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard let session, index == 2 * dataPairs(session), index < session.queues.count, let queue = session.queues[index] else { return .idle }
        return serveControl(session, queue)
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        let result = backEnd.eventSourceReady()
        guard backEnd.takeNews() else { return result }
        let isUp = isLinkEnabled && backEnd.isConnected
        guard isUp != configuration.isLinkUp else { return result }
        configuration.isLinkUp = isUp
        return result == .idle ? .configurationChanged : result
    }

    public func drain() -> ServiceResult { .idle }
    public func stopQueue(_ index: Int) { backEnd.stopQueue(index) }
    public func prepareReset() -> Bool { backEnd.prepareReset() }

    public func reset() {
        backEnd.reset()
        session = nil
        activePairs = 1
        configuration.mac = permanentMAC
        enableRings()
    }

    /// The rings of pairs that are not in use are started, so that the driver gets back what it queues, and move nothing.
    private func enableRings() { backEnd.setEnabledRings(isLinkEnabled ? 2 * activePairs : 0) }

    // MARK: Commands

    /// At most a queue full.
    private func serveControl(_ session: VirtioSession, _ queue: SplitQueue) -> ServiceResult {
        defer { if queue.publish() { session.interrupt.raise(VirtioInterrupt.usedBuffer) } }
        do throws(QueueFault) {
            queue.disableNotifications()
            for _ in 0..<queue.size {
                if try queue.pop(into: controlChain) {
                    answer(session, queue)
                } else if try !queue.enableNotifications() {
                    return .idle
                }
            }
            return .again
        } catch {
            return .fault(.needsReset(error))
        }
    }

    private func answer(_ session: VirtioSession, _ queue: SplitQueue) {
        // No room for an answer: the chain goes back as it is.
        guard controlChain.writableBytes > 0 else {
            droppedRequests &+= 1
            return queue.push(head: controlChain.head, written: 0)
        }
        let isDone = NetControlCommand(controlChain).map { perform($0, session) } ?? false
        if !isDone { droppedRequests &+= 1 }
        _ = controlChain.writePrefix([isDone ? NetControlCommand.acknowledged : NetControlCommand.refused])
        queue.push(head: controlChain.head, written: 1)
    }

    /// False when the command was not negotiated, or asks for what is not there.
    private func perform(_ command: NetControlCommand, _ session: VirtioSession) -> Bool {
        guard session.features & command.feature != 0 else { return false }
        switch command {
        // What a filter would keep out may come all the same: it is best effort (virtio 1.2, section 5.1.6.5.1).
        case .mode, .addressTables, .vlan: break
        case .address(let mac): configuration.mac = mac
        case .queuePairs(let count):
            guard count <= dataPairs(session) else { return false }
            if count != activePairs {
                activePairs = count
                enableRings()
            }
        }
        return true
    }
}
