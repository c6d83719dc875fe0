public import AddressSpace
public import LinuxSys

/// What a device gets when its driver is ready (DRIVER_OK). Valid until the device's `reset`.
public struct VirtioSession {
    /// Nil: not set up by the driver.
    public let queues: [SplitQueue?]
    /// The same queues as guest physical addresses and sizes, all of them checked; for back ends that serve them elsewhere, such as vhost.
    public let configurations: [QueueConfiguration?]
    /// What was negotiated.
    public let features: UInt64
    public let memory: GuestMemory
    public let interrupt: VirtioInterrupt
    /// One for each queue: readable when the guest has notified it. KVM signals it (ioeventfd), so whoever watches it is woken without this process.
    public let notifications: [EventFD]
    /// The way back to the transport, for other threads.
    public let control: SessionControl

    public func serveElsewhere(_ index: Int) { control.serveElsewhere(index) }
    public func handOver(_ index: Int) { control.handOver(index) }
    public func requestReset(_ fault: QueueFault) { control.requestReset(fault) }
}

/// What a running session may ask of its transport. Any thread, with or without the device's lock; nothing happens once the session is over.
public final class SessionControl: Sendable {
    private weak let transport: VirtioMMIODevice?
    private let session: UInt64

    init(_ transport: VirtioMMIODevice?, session: UInt64) {
        self.transport = transport
        self.session = session
    }

    /// The transport's loop stops watching the notifications of queue `index`: the device watches them on another loop, or has handed them to a back end. From
    /// here to `reset` the device's `queueNotified` is not called for it. Before `reset` returns the device must have stopped watching; the transport
    /// then watches again.
    public func serveElsewhere(_ index: Int) { transport?.serveElsewhere(index, session: session) }

    /// As `serveElsewhere`, for a queue that another process serves, which gets the notification's descriptor: before it gets it. From then on, resets included, nothing
    /// here adds to that notification; the queue is not notified after `activate`.
    public func handOver(_ index: Int) { transport?.handOver(index, session: session) }

    /// The device has changed its configuration space by itself: the driver is told soon, on the transport's loop.
    public func configurationChanged() { transport?.postConfigurationChange(session: session) }

    /// Sets DEVICE_NEEDS_RESET soon, on the transport's loop. Of several requests the first counts.
    public func requestReset(_ fault: QueueFault) { transport?.postReset(fault, session: session) }
}
