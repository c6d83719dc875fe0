/// What one queue has done since the machine started, resets included. All numbers wrap. Of a queue that a back end elsewhere serves (vhost, vhost-user) this process
/// sees nothing: they stay 0.
public struct QueueStatistics: Equatable, Sendable {
    /// Chains that the driver got back, also those that were not understood.
    public var requests: UInt64 = 0
    /// Bytes that the driver's buffers held for the device to read, headers included.
    public var bytesFromGuest: UInt64 = 0
    /// Bytes that the device wrote into the driver's buffers, as the used ring says, status bytes included.
    public var bytesToGuest: UInt64 = 0
    /// The driver's notifications, and one for each time that the device came back to the queue by itself.
    public var notifications: UInt64 = 0
    /// Times that the driver wanted an interrupt for buffers it got back.
    public var interrupts: UInt64 = 0
    /// Times that the queue had to wait: a chain for room or data at the host, or a packet for buffers of the driver.
    public var stalls: UInt64 = 0

    public init() {}

    static func + (left: QueueStatistics, right: QueueStatistics) -> QueueStatistics {
        var sum = left
        sum.requests &+= right.requests
        sum.bytesFromGuest &+= right.bytesFromGuest
        sum.bytesToGuest &+= right.bytesToGuest
        sum.notifications &+= right.notifications
        sum.interrupts &+= right.interrupts
        sum.stalls &+= right.stalls
        return sum
    }
}

/// A number that one kind of device has beside those of its queues.
public struct DeviceCounter: Equatable, Sendable {
    /// In lower case, words parted by hyphens, without the device's name: "dropped-packets". Clients know it: it does not change.
    public var name: String
    public var value: UInt64

    public init(_ name: StaticString, _ value: UInt64) {
        self.name = name.description
        self.value = value
    }
}

/// What a device did for its guest, and what it did not do, since the machine started. All numbers wrap.
public struct DeviceStatistics: Equatable, Sendable {
    /// Register accesses of a wrong size, at a wrong time, or to nothing.
    public var ignoredAccesses: UInt64 = 0
    /// Requests that made no sense.
    public var droppedRequests: UInt64 = 0
    /// How often DEVICE_NEEDS_RESET was set.
    public var resetsRequested: UInt64 = 0
    /// How often the driver, or the machine, has reset the device.
    public var resets: UInt64 = 0
    /// How often a driver made the device go live.
    public var activations: UInt64 = 0
    /// Interrupts that this process raised, for used buffers and for changes of the configuration.
    public var interrupts: UInt64 = 0
    /// By number.
    public var queues: [QueueStatistics] = []
    /// Those of the device's kind.
    public var counters: [DeviceCounter] = []
}
