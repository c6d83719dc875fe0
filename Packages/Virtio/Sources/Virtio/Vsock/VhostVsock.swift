internal import AddressSpace
internal import LinuxSys

/// A virtio socket device (virtio 1.2, section 5.10) that the kernel's vhost serves: sockets of the guest meet AF_VSOCK sockets of the host.
///
/// Data never passes through this process: the kernel takes the guest's kicks and interrupts the guest. The event queue (section 5.10.6.6) is
/// the device's own; it tells of nothing but a moved machine, so its buffers wait.
public final class VhostVsock: VirtioDevice {
    /// Where the kernel's device is when no descriptor was handed over.
    public static let devicePath = "/dev/vhost-vsock"

    /// VIRTIO_VSOCK_F_SEQPACKET (virtio 1.2, section 5.10.3).
    private static let sequencedPackets: UInt64 = 1 << 1
    private static let offered = VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | sequencedPackets
    /// Receive and transmit queue; the third is the event queue.
    private static let dataQueues: Range<Int> = 0..<2

    public let deviceType: UInt32 = 19
    public let features: UInt64
    public let queueSizes: [UInt16] = [256, 256, 256]
    public var eventSources: [Int32] { [callEvent.raw, errorEvent.raw] }
    public var droppedRequests: UInt64 { 0 }

    /// The context identifier, the guest's address.
    public let guestCID: UInt64
    private let kernel: VhostKernel
    /// The kernel signals used buffers here where the interrupt line has no eventfd of its own.
    private let callEvent: EventFD
    /// The kernel signals here when a ring makes no sense.
    private let errorEvent: EventFD
    /// From an activation that the kernel took to the end of service.
    private var interrupt: VirtioInterrupt?
    /// A guest that tries again and again must not fill the log.
    private var hasLogged = false

    /// Reserves `guestCID` (3 to 2^32 - 1) with the kernel. `descriptor` is an open /dev/vhost-vsock, taken over also when this throws; nil: opened here.
    public static func open(guestCID: UInt64, descriptor: Int32? = nil) throws(VsockError) -> VhostVsock {
        let kernel: VhostKernel
        do throws(VhostError) {
            kernel = if let descriptor { try VhostKernel.adopt(descriptor) } else { try VhostKernel.open(path: devicePath) }
        } catch {
            throw VsockError(guestCID: guestCID, reason: .vhost(error))
        }
        return try VhostVsock(guestCID: guestCID, kernel: kernel)
    }

    init(guestCID: UInt64, kernel: VhostKernel) throws(VsockError) {
        guard guestCID >= 3, guestCID <= 0xffff_ffff else { throw VsockError(guestCID: guestCID, reason: .badCID) }
        do throws(VhostError) {
            try kernel.setOwner()
            try kernel.perform(.setGuestCID(guestCID))
        } catch {
            if case .refused(.setGuestCID, .addressInUse) = error { throw VsockError(guestCID: guestCID, reason: .inUse) }
            throw VsockError(guestCID: guestCID, reason: .vhost(error))
        }
        do throws(Errno) {
            callEvent = try EventFD()
            errorEvent = try EventFD()
        } catch {
            throw VsockError(guestCID: guestCID, reason: .event(error))
        }
        self.guestCID = guestCID
        self.kernel = kernel
        features = kernel.features & Self.offered
    }

    deinit { stop() }

    /// Virtio 1.2, section 5.10.4: the CID, 64 bits.
    public func readConfig(offset: Int, size: Int) -> UInt64 {
        ConfigurationSpace.read(offset: offset, size: size) { $0 < 8 ? UInt8(truncatingIfNeeded: guestCID >> UInt64(8 * $0)) : 0 }
    }

    /// Nothing is writable.
    public func writeConfig(offset: Int, size: Int, value: UInt64) {}

    public func activate(_ session: VirtioSession) {
        stop()
        let configurations = session.configurations
        // The kernel serves both or none; a driver without both has nothing to say.
        guard configurations.count > 1, let receive = configurations[0], let transmit = configurations[1] else { return }
        interrupt = session.interrupt
        let call = session.interrupt.delegateUsedBuffers() ?? callEvent.raw
        do throws(VhostError) {
            try kernel.begin(features: session.features, memory: session.memory)
            for (index, configuration) in [receive, transmit].enumerated() {
                try kernel.start(
                    queue: UInt32(index), configuration, memory: session.memory, kick: session.notifications[index].raw, call: call, error: errorEvent.raw)
            }
            try kernel.perform(.setRunning(true))
        } catch {
            stop()
            if !hasLogged { Log.error("-device vhost-vsock-device,guest-cid=\(guestCID): \(error)") }
            hasLogged = true
            session.requestReset(.hostFailure(error.errno))
            return
        }
        for index in Self.dataQueues { session.serveElsewhere(index) }
    }

    /// Only of the event queue, which nothing is taken from.
    public func queueNotified(_ index: Int) -> ServiceResult { .idle }

    public func eventSourceReady(_ descriptor: Int32) -> ServiceResult {
        if descriptor == callEvent.raw {
            if callEvent.drain() > 0 { interrupt?.raise(VirtioInterrupt.usedBuffer) }
        } else if descriptor == errorEvent.raw {
            guard errorEvent.drain() > 0, interrupt != nil else { return .idle }
            // The kernel would stumble over the same entry at every kick.
            stop()
            return .fault(.needsReset(.hostFailure(.invalid)))
        }
        return .idle
    }

    public func drain() -> ServiceResult { .idle }

    /// The kernel stops both of its queues or none.
    public func stopQueue(_ index: Int) { if Self.dataQueues.contains(index) { stop() } }

    public func reset() { stop() }

    /// Afterwards the kernel touches neither the rings nor the guest's memory.
    private func stop() {
        guard interrupt != nil else { return }
        interrupt = nil
        _ = try? kernel.perform(.setRunning(false))
        for index in Self.dataQueues { kernel.stop(queue: UInt32(index)) }
        callEvent.drain()
        errorEvent.drain()
    }
}
