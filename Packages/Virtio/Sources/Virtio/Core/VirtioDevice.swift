/// What a device type does behind a transport.
///
/// The transport owns the device and calls it under the device's one lock: on vCPU threads (configuration space, activation, reset)
/// and on the event loop's thread (queues and event sources). No two calls overlap. A device that serves queues on other threads
/// (`VirtioSession.serveElsewhere`) has locks of its own for those, and never calls the transport while it holds one, `SessionControl` excepted.
public protocol VirtioDevice: AnyObject {
    /// Virtio 1.2, section 5: 2 is a block device.
    var deviceType: UInt32 { get }
    /// Everything that is offered, VIRTIO_F_VERSION_1 included. May change inside `VirtioMMIODevice.update`; a driver that has begun to negotiate
    /// sees the change after its next reset.
    var features: UInt64 { get }
    /// The largest size of each queue, powers of two. Does not change.
    var queueSizes: [UInt16] { get }
    /// Descriptors of the host that `eventSourceReady` is called for whenever one is readable. They belong to the device, and may
    /// change inside `VirtioMMIODevice.update`.
    var eventSources: [Int32] { get }
    /// Whether the transport may look at the queues by itself where that saves the driver the notification. Such a device gives back, or takes notice of, all that it is
    /// called for: a loop comes back to a queue that it waits for (`SplitQueue.enableNotifications`) as long as something is in there. Does not change; the
    /// default is false.
    var isPollable: Bool { get }
    /// Whether `eventSourceReady`, with any number, has something to do, as far as that can be seen without a system call. For loops that look before they
    /// wait; whatever it says, the sources are readable. The default is false.
    var hasEvents: Bool { get }
    /// Requests that were ignored because they make no sense; it wraps.
    var droppedRequests: UInt64 { get }
    /// What the device counts beside its queues, which count for themselves: requests and bytes of each `SplitQueue`, its notifications, interrupts and stalls.
    /// Made when somebody asks. The default is none.
    var counters: [DeviceCounter] { get }

    /// `size` is 1...8. Little endian; bytes outside the configuration space are 0.
    func readConfig(offset: Int, size: Int) -> UInt64
    /// Bytes outside the configuration space and read-only fields are ignored.
    func writeConfig(offset: Int, size: Int, value: UInt64)

    /// The driver is ready. All queues are notified once afterwards.
    func activate(_ session: VirtioSession)
    /// The driver says that queue `index` has new buffers; may be wrong.
    func queueNotified(_ index: Int) -> ServiceResult
    /// `descriptor` may be one that was replaced meanwhile.
    func eventSourceReady(_ descriptor: Int32) -> ServiceResult
    /// Waits until nothing is in flight; finished requests are given back to the driver. `.again` when others in a queue have waited for them.
    /// For a paused machine: queues that are served elsewhere are served until they are empty.
    @discardableResult
    func drain() -> ServiceResult
    /// The driver takes queue `index` back without a reset (QueueReady = 0, FAILED): nothing more is taken from it, what has ended is given back. True when
    /// nothing in flight belongs to it, so that `stopQueue` will not wait. Called again until it is true, with the device's lock given up in between. The
    /// default is true.
    func prepareStop(_ index: Int) -> Bool
    /// Waits until nothing in flight belongs to queue `index`, and does not touch it any more. The default is `drain`.
    func stopQueue(_ index: Int)
    /// The driver wants a reset: nothing new is started, and rings are not touched any more. True when nothing is in flight, so that
    /// `reset` will not wait. Called again until it is true, with the device's lock given up in between. The default is true.
    func prepareReset() -> Bool
    /// Back to the state before activation: waits until nothing is in flight, and touches neither rings nor guest memory afterwards.
    func reset()
}

extension VirtioDevice {
    public var counters: [DeviceCounter] { [] }
    public var isPollable: Bool { false }
    public var hasEvents: Bool { false }
    public func prepareStop(_ index: Int) -> Bool { true }
    public func stopQueue(_ index: Int) { drain() }
    public func prepareReset() -> Bool { true }
}

/// How serving a queue or an event source ended.
public enum ServiceResult: Equatable, Sendable {
    /// Nothing to do until the next notification.
    case idle
    /// There is more, and the others on the event loop come first: a flooded device must not starve them.
    case again
    /// The configuration space has changed: the driver is told (virtio 1.2, section 2.5).
    case configurationChanged
    case fault(GuestFault)
}
