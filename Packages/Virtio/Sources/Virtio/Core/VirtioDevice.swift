public import AddressSpace

/// What a device type does behind a transport.
///
/// The transport owns the device and calls it under the device's one lock: on vCPU threads (configuration space, activation, reset)
/// and on the event loop's thread (queues and event sources). No two calls overlap.
public protocol VirtioDevice: AnyObject {
    /// Virtio 1.2, section 5: 2 is a block device.
    var deviceType: UInt32 { get }
    /// Everything that is offered, VIRTIO_F_VERSION_1 included. Does not change.
    var features: UInt64 { get }
    /// The largest size of each queue, powers of two. Does not change.
    var queueSizes: [UInt16] { get }
    /// Descriptors of the host that `eventSourceReady` is called for whenever one is readable. They belong to the device and do not change.
    var eventSources: [Int32] { get }
    /// Requests that were ignored because they make no sense; it wraps.
    var droppedRequests: UInt64 { get }

    /// `size` is 1...8. Little endian; bytes outside the configuration space are 0.
    func readConfig(offset: Int, size: Int) -> UInt64
    /// Bytes outside the configuration space and read-only fields are ignored.
    func writeConfig(offset: Int, size: Int, value: UInt64)

    /// The driver is ready. `features` is what was negotiated; a queue that the driver did not set up is nil.
    func activate(queues: [SplitQueue?], features: UInt64, memory: GuestMemory, interrupt: VirtioInterrupt)
    /// The driver says that queue `index` has new buffers; may be wrong.
    func queueNotified(_ index: Int) -> ServiceResult
    func eventSourceReady(_ descriptor: Int32) -> ServiceResult
    /// Waits until nothing is in flight; finished requests are given back to the driver. `.again` when others in a queue have waited for them.
    @discardableResult
    func drain() -> ServiceResult
    /// Back to the state before activation: waits until nothing is in flight, and touches neither rings nor guest memory afterwards.
    func reset()
}

/// How serving a queue or an event source ended.
public enum ServiceResult: Equatable, Sendable {
    /// Nothing to do until the next notification.
    case idle
    /// There is more, and the others on the event loop come first: a flooded device must not starve them.
    case again
    case fault(GuestFault)
}
