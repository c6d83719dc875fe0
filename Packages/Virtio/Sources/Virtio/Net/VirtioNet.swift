public import LinuxSys
internal import Synchronization

/// A virtio network device (virtio 1.2, section 5.1) over a back end, or over none: then the link is down, and what the driver sends goes nowhere.
///
/// Configuration and commands are under the transport's lock. The queues have halves with locks of their own, on the loops they were given (`NetReceiver`,
/// `NetTransmitter`), or are in the hands of the kernel (`VhostNet`).
public final class VirtioNet: VirtioDevice {
    /// Commands wait one after the other.
    static let controlQueueSize: UInt16 = 64

    public let deviceType: UInt32 = 1
    public private(set) var features: UInt64
    public let queueSizes: [UInt16]
    /// All descriptors are watched by the halves.
    public var eventSources: [Int32] { [] }

    let options: NetOptions
    let pairs: [NetPair]
    let controlChain: DescriptorChain
    /// What a driver finds after a reset; commands change only the configuration's copy.
    private var permanentMAC: MACAddress
    var configuration: NetConfigurationSpace
    var filter: ReceiveFilter
    var session: VirtioSession?
    /// Pairs that the driver uses, from the first on.
    var activePairs = 1
    /// Of the control queue.
    var droppedCommands: UInt64 = 0
    private(set) var backend: NetBackend?
    private var isLinkEnabled = true
    /// A guest that resets the device in a loop must not fill the log: one line a back end.
    private var hasWarned = false

    public init(options: NetOptions, backend: NetBackend?, loops: NetLoops) {
        self.options = options
        permanentMAC = options.mac
        let filter = ReceiveFilter(mac: options.mac)
        self.filter = filter
        pairs = (0..<options.pairs).map { NetPair(number: $0, loops: loops, filter: filter) }
        queueSizes = [UInt16](repeating: options.size, count: 2 * options.pairs) + [Self.controlQueueSize]
        configuration = NetConfigurationSpace(mac: options.mac, isLinkUp: false, queuePairs: UInt16(options.pairs))
        // Without MQ the control queue is the third, whatever its size (virtio 1.2, section 5.1.2).
        controlChain = DescriptorChain(maximumLength: max(Int(options.size), Int(Self.controlQueueSize)))
        features = Self.features(options, backend)
        adopt(backend)
    }

    deinit { reset() }

    /// An empty slot offers what any tap can do: the guest negotiates once, and a tap may come later.
    private static func features(_ options: NetOptions, _ backend: NetBackend?) -> UInt64 {
        var features = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | NetFeature.own
        features |= NetFeature.mergeableBuffers | (backend?.offloads ?? NetFeature.offloads)
        if let backend { features = backend.vhost.reduce(features) { $0 & $1.deviceFeatures } }
        if options.offersMultiqueue, options.pairs > 1 { features |= NetFeature.multiqueue }
        return features
    }

    /// Packets that made no sense; of those that were lost for other reasons see the halves' counters.
    public var droppedRequests: UInt64 {
        pairs.reduce(droppedCommands) {
            $0 &+ $1.receiver.malformedChains.load(ordering: .relaxed) &+ $1.transmitter.malformedPackets.load(ordering: .relaxed)
        }
    }

    public var counters: [DeviceCounter] {
        func sum(_ count: (NetPair) -> UInt64) -> UInt64 { pairs.reduce(0) { $0 &+ count($1) } }
        return [
            DeviceCounter("rx-dropped-packets", sum { $0.receiver.droppedPackets.load(ordering: .relaxed) }),
            DeviceCounter("rx-filtered-packets", sum { $0.receiver.filteredPackets.load(ordering: .relaxed) }),
            DeviceCounter("tx-refused-packets", sum { $0.transmitter.refusedPackets.load(ordering: .relaxed) }),
        ]
    }

    /// What the driver sees in `status`.
    public var isLinkUp: Bool { configuration.isLinkUp }

    // MARK: The host's side. Inside `VirtioMMIODevice.update`; the caller tells the guest (`configurationChanged`).

    /// Another back end in the place of this one, or none, while the guest runs. The old one is closed.
    ///
    /// `mac` is the device's new address; nil: it stays. The configuration shows it at once. Linux reads it only when it takes the device over: until then it
    /// goes on with the old one, or sets the new one by a command.
    public func replaceBackend(_ backend: NetBackend?, mac: MACAddress? = nil) {
        if let mac {
            permanentMAC = mac
            configuration.mac = mac
            if session == nil { setFilter(ReceiveFilter(mac: mac)) }
        }
        for pair in pairs { release(pair) }
        // The next device in the slot has a cable of its own.
        if backend == nil { isLinkEnabled = true }
        adopt(backend)
        features = Self.features(options, backend)
        connect()
    }

    /// As if the cable was plugged in or out.
    public func setLink(up: Bool) {
        guard up != isLinkEnabled else { return }
        isLinkEnabled = up
        // What has come meanwhile was for a machine without a link.
        if up { for number in 0..<activePairs { backend?.port(number)?.discardWaiting() } }
        carrierChanged()
    }

    /// The back end has found its peer, or has lost it.
    public func carrierChanged() {
        configuration.isLinkUp = isLinkEnabled && backend?.hasCarrier == true
        connect()
    }

    private func adopt(_ backend: NetBackend?) {
        self.backend = backend
        hasWarned = false
        configuration.isLinkUp = isLinkEnabled && backend?.hasCarrier == true
        setOffloads()
        enableQueues()
    }

    // MARK: The driver's side

    public func readConfig(offset: Int, size: Int) -> UInt64 { configuration.read(offset: offset, size: size) }

    /// Nothing is writable: the address is set by a command.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) {
        self.session = session
        activePairs = 1
        setFilter(ReceiveFilter(mac: permanentMAC, vlans: session.features & NetFeature.controlVLAN != 0 ? [] : nil))
        for pair in pairs.prefix(dataPairs(session)) where pair.transmitIndex < session.queues.count {
            pair.receiveQueue = session.queues[pair.receiveIndex]
            pair.transmitQueue = session.queues[pair.transmitIndex]
            session.serveElsewhere(pair.receiveIndex)
            session.serveElsewhere(pair.transmitIndex)
        }
        setOffloads()
        connect()
    }

    /// Queue pairs that the driver knows of.
    private func dataPairs(_ session: VirtioSession) -> Int { session.features & NetFeature.multiqueue != 0 ? pairs.count : 1 }

    /// Virtio 1.2, section 5.1.2.
    func controlIndex(_ session: VirtioSession) -> Int? {
        session.features & NetFeature.controlQueue != 0 ? 2 * dataPairs(session) : nil
    }

    public func queueNotified(_ index: Int) -> ServiceResult {
        guard let session else { return .idle }
        if index == controlIndex(session) { return serveControl(session, index) }
        // A data queue's, on its way when the queue was taken over.
        if index >= 0, index < 2 * dataPairs(session), index < session.notifications.count { session.notifications[index].signal() }
        return .idle
    }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult { .idle }

    public func drain() -> ServiceResult {
        for pair in pairs { pair.transmitter.drain() }
        return .idle
    }

    public func stopQueue(_ index: Int) {
        guard let session, index >= 0, index < 2 * dataPairs(session) else { return }
        let pair = pairs[index / 2]
        pair.stopKernel()
        pair.stop(queue: index)
        // The other one of the two goes on.
        connect()
    }

    public func reset() {
        for pair in pairs {
            release(pair)
            pair.stopServing()
            pair.receiveQueue = nil
            pair.transmitQueue = nil
        }
        session = nil
        activePairs = 1
        configuration.mac = permanentMAC
        setFilter(ReceiveFilter(mac: permanentMAC))
        setOffloads()
        enableQueues()
    }

    func setFilter(_ filter: ReceiveFilter) {
        self.filter = filter
        for pair in pairs { pair.receiver.set(filter: filter) }
    }

    // MARK: Who serves what

    /// Gives each pair to whoever should serve it now.
    func connect() {
        guard let session else { return enableQueues() }
        let active = activePairs
        for pair in pairs where pair.number >= active { release(pair) }
        enableQueues()
        for pair in pairs.prefix(dataPairs(session)) {
            let isActive = pair.number < active
            let port = isActive && isLinkEnabled ? backend?.port(pair.number) : nil
            if case .tap(let tap)? = port, let backend, let vhost = backend.vhost.dropFirst(pair.number).first, pair.receiveQueue != nil, pair.transmitQueue != nil {
                if pair.isInKernel { continue }
                do throws(VhostError) {
                    try pair.serveInKernel(session, vhost, tap: tap)
                    continue
                } catch {
                    warn(backend, "\(error); packets are moved without vhost")
                }
            }
            pair.stopKernel()
            pair.receiver.set(port: port, isOpen: port != nil)
            pair.transmitter.set(isActive ? port.map { .port($0) } ?? .none : .idle)
            pair.serve(session, maximumChain: Int(options.size))
        }
    }

    /// Nobody touches the pair's port any more.
    private func release(_ pair: NetPair) {
        pair.stopKernel()
        pair.receiver.set(port: nil, isOpen: false)
        pair.transmitter.set(.none)
    }

    /// The kernel spreads flows over all queues that are in use: those that nobody reads from must not be.
    private func enableQueues() {
        guard let backend, backend.isMultiQueue else { return }
        for (index, queue) in backend.queues.enumerated() {
            do throws(Errno) { try queue.setEnabled(index < activePairs) } catch {
                warn(backend, "queue \(index) of interface '\(backend.tap?.interface ?? "")' cannot be switched: \(error)")
            }
        }
    }

    /// What the driver takes, as far as this tap has it; nothing while there is no driver.
    private func setOffloads() {
        guard let backend, let first = backend.queues.first else { return }
        let offloads = session.map { TapQueue.offloads(for: $0.features, hasUFO: backend.hasUFO) } ?? 0
        do throws(Errno) { try first.setOffloads(offloads) } catch {
            warn(backend, "the offloads of interface '\(backend.tap?.interface ?? "")' cannot be set: \(error)")
        }
    }

    private func warn(_ backend: NetBackend, _ text: @autoclosure () -> String) {
        if !hasWarned { Log.warn("-netdev \(backend.name): \(text())") }
        hasWarned = true
    }
}
