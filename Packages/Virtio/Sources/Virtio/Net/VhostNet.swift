internal import LinuxSys

/// The kernel's vhost-net for one queue pair (Linux drivers/vhost/net.c): ring 0 receives, ring 1 transmits, between guest memory and the tap, without this
/// process. Filters and commands of the control queue stay here: frames are not filtered.
///
/// Used under the transport's lock.
final class VhostNet: @unchecked Sendable {
    static let path = "/dev/vhost-net"
    /// What the rings' server must know of what the driver uses.
    private static let ringFeatures =
        VirtioFeature.version1 | VirtioFeature.indirectDescriptors | VirtioFeature.eventIndex | NetFeature.mergeableBuffers

    private let kernel: VhostKernel
    private var isOwned = false

    init(_ kernel: VhostKernel) { self.kernel = kernel }

    static func open(netdev: String) throws(NetError) -> VhostNet {
        do throws(VhostError) { return VhostNet(try VhostKernel.open(path: path)) } catch { throw .vhost(netdev: netdev, error) }
    }

    /// Takes `descriptor` over, also when it throws.
    static func adopt(_ descriptor: Int32, netdev: String) throws(NetError) -> VhostNet {
        do throws(VhostError) { return VhostNet(try VhostKernel.adopt(descriptor)) } catch { throw .vhost(netdev: netdev, error) }
    }

    /// All that a device served by this kernel may offer, as far as it concerns the kernel.
    var deviceFeatures: UInt64 { kernel.features | ~Self.ringFeatures }

    /// Hands both queues over; the kernel goes on where they are.
    func start(_ session: VirtioSession, pair: NetPair, tap: TapQueue, loop: EventLoop) throws(VhostError) -> VhostNetRun {
        guard let receive = pair.receiveQueue, let transmit = pair.transmitQueue, session.configurations.count > pair.transmitIndex,
            let receiveRing = session.configurations[pair.receiveIndex], let transmitRing = session.configurations[pair.transmitIndex],
            session.features & Self.ringFeatures & ~kernel.features == 0
        else { throw .tooOld }
        if !isOwned {
            try kernel.setOwner()
            isOwned = true
        }
        let run = try VhostNetRun(kernel, session, loop: loop)
        var hasStarted = false
        do throws(VhostError) {
            try kernel.begin(features: session.features, memory: session.memory)
            try kernel.start(
                queue: 0, receiveRing, memory: session.memory, base: receive.position, kick: session.notifications[pair.receiveIndex].raw, call: run.call,
                error: run.error.raw)
            try kernel.start(
                queue: 1, transmitRing, memory: session.memory, base: transmit.position, kick: session.notifications[pair.transmitIndex].raw, call: run.call,
                error: run.error.raw)
            try kernel.perform(.setNetBackend(queue: 0, tap.receiveDescriptor))
            hasStarted = true
            try kernel.perform(.setNetBackend(queue: 1, tap.receiveDescriptor))
        } catch {
            let position = run.stop()
            // Packets may have come already. Before that the kernel's index may be that of a session long ago.
            if hasStarted, let index = position.receive { receive.resume(at: index) }
            throw error
        }
        return run
    }
}

/// A queue pair in the kernel's hands.
final class VhostNetRun {
    let error: EventFD
    /// What the kernel signals for used buffers: the interrupt itself, or `ownCall`.
    let call: Int32
    private let ownCall: EventFD?
    private let kernel: VhostKernel
    private let loop: EventLoop

    init(_ kernel: VhostKernel, _ session: VirtioSession, loop: EventLoop) throws(VhostError) {
        self.kernel = kernel
        self.loop = loop
        do throws(Errno) {
            let error = try EventFD()
            let control = session.control
            try loop.add(error.raw, .readable) { _ in
                error.drain()
                control.requestReset(.hostFailure(.invalid))
            }
            self.error = error
            if let delegated = session.interrupt.delegateUsedBuffers() {
                call = delegated
                ownCall = nil
                return
            }
            let interrupt = session.interrupt
            do throws(Errno) {
                let event = try EventFD()
                try loop.add(event.raw, .readable) { _ in
                    event.drain()
                    interrupt.raise(VirtioInterrupt.usedBuffer)
                }
                ownCall = event
                call = event.raw
            } catch let failure {
                loop.remove(error.raw)
                throw failure
            }
        } catch {
            throw .refused(.setCall(queue: 0, -1), error)
        }
    }

    /// Waits until the kernel touches neither rings nor guest memory; where the two queues are then, if it says.
    func stop() -> (receive: UInt16?, transmit: UInt16?) {
        for queue in [0, 1] as [UInt32] { _ = try? kernel.port.perform(.setNetBackend(queue: queue, -1)) }
        let receive = kernel.stop(queue: 0)
        let transmit = kernel.stop(queue: 1)
        loop.remove(error.raw)
        if let ownCall { loop.remove(ownCall.raw) }
        return (receive, transmit)
    }
}
