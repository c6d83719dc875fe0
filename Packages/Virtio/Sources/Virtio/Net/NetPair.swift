internal import LinuxSys

/// One pair of queues, and who serves it. Used under the transport's lock; the halves have their own.
final class NetPair {
    let number: Int
    let receiver: NetReceiver
    let transmitter: NetTransmitter
    /// From activation to reset, or until the driver takes the queue back.
    var receiveQueue: SplitQueue?
    var transmitQueue: SplitQueue?
    private var isServed = false
    private var run: VhostNetRun?

    /// Indices of the queues within the device (virtio 1.2, section 5.1.2).
    var receiveIndex: Int { 2 * number }
    var transmitIndex: Int { 2 * number + 1 }
    var isInKernel: Bool { run != nil }

    init(number: Int, loops: NetLoops, filter: ReceiveFilter) {
        self.number = number
        receiver = NetReceiver(queue: 2 * number, loop: loops.receive, filter: filter)
        transmitter = NetTransmitter(queue: 2 * number + 1, loop: loops.transmit)
    }

    /// Serves the queues in this process, unless it does so already.
    func serve(_ session: VirtioSession, maximumChain: Int) {
        guard !isServed else { return }
        isServed = true
        do throws(Errno) {
            if let receiveQueue {
                try receiver.start(session, queue: receiveQueue, notification: session.notifications[receiveIndex], maximumChain: maximumChain)
                session.notifications[receiveIndex].signal()
            }
            if let transmitQueue {
                try transmitter.start(session, queue: transmitQueue, notification: session.notifications[transmitIndex], maximumChain: maximumChain)
                session.notifications[transmitIndex].signal()
            }
        } catch {
            session.requestReset(.hostFailure(error))
        }
    }

    /// Hands the queues to the kernel. When it throws, nobody serves them.
    func serveInKernel(_ session: VirtioSession, _ vhost: VhostNet, tap: TapQueue) throws(VhostError) {
        stopServing()
        run = try vhost.start(session, pair: self, tap: tap, loop: receiver.loop)
        // What was notified before the kernel looked.
        session.notifications[receiveIndex].signal()
        session.notifications[transmitIndex].signal()
    }

    /// Nobody serves the queues when it returns, and nobody touches guest memory.
    func stopServing() {
        isServed = false
        receiver.stop()
        transmitter.stop()
        stopKernel()
    }

    /// The kernel serves the queues no more.
    func stopKernel() {
        guard let run else { return }
        let position = run.stop()
        self.run = nil
        if let index = position.receive { receiveQueue?.resume(at: index) }
        if let index = position.transmit { transmitQueue?.resume(at: index) }
    }

    /// The driver takes one of the queues back.
    func stop(queue index: Int) {
        if index == receiveIndex {
            receiver.stop()
            receiveQueue = nil
        } else {
            transmitter.stop()
            transmitQueue = nil
        }
    }
}
