/// The device status field and the order in which a driver may set its bits (virtio 1.2, sections 2.1 and 3.1.1).
public struct DeviceStatus: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let acknowledge = DeviceStatus(rawValue: 1)
    public static let driver = DeviceStatus(rawValue: 2)
    public static let driverOK = DeviceStatus(rawValue: 4)
    public static let featuresOK = DeviceStatus(rawValue: 8)
    /// Set by the device, never by the driver.
    public static let needsReset = DeviceStatus(rawValue: 64)
    public static let failed = DeviceStatus(rawValue: 128)

    /// The driver's steps, first to last.
    static let steps: [DeviceStatus] = [.acknowledge, .driver, .featuresOK, .driverOK]

    /// The device may touch its queues.
    var isLive: Bool { contains(.driverOK) && isDisjoint(with: [.needsReset, .failed]) }
    /// Features are being chosen: after DRIVER, before FEATURES_OK.
    var acceptsFeatures: Bool { self == [.acknowledge, .driver] }
    /// Queues are being set up: after FEATURES_OK, before DRIVER_OK (virtio 1.2, section 3.1.1, step 7). Changing a queue in use is
    /// what CVE-2026-5747 was about.
    var acceptsQueues: Bool { self == [.acknowledge, .driver, .featuresOK] }

    /// What a write of `value` asks for.
    enum Request: Equatable {
        case reset
        /// Steps still to take, in order, and whether the driver gives up.
        case advance(steps: ArraySlice<DeviceStatus>, fails: Bool)
        /// Unknown bits, a bit taken back, or a step left out.
        case refused
    }

    func request(writing value: UInt32) -> Request {
        if value == 0 { return .reset }
        guard let byte = UInt8(exactly: value) else { return .refused }
        var wanted = DeviceStatus(rawValue: byte)
        // NEEDS_RESET is the device's; a driver that reads the field and adds a bit writes it back.
        if wanted.contains(.needsReset), !contains(.needsReset) { return .refused }
        wanted.remove(.needsReset)
        let present = subtracting(.needsReset)
        guard wanted.isSuperset(of: present) else { return .refused }
        let done = Self.steps.prefix { present.contains($0) }.count
        let target = Self.steps.prefix { wanted.contains($0) }.count
        guard wanted.subtracting(.failed) == DeviceStatus(Self.steps[..<target]) else { return .refused }
        // Nothing but a reset leads out of these two.
        if target > done, !isDisjoint(with: [.needsReset, .failed]) { return .refused }
        return .advance(steps: Self.steps[done..<target], fails: wanted.contains(.failed) && !contains(.failed))
    }
}
