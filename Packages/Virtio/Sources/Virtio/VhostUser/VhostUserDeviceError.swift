/// Why there is no device that another program serves: one sentence for the user.
public struct VhostUserDeviceError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The option at fault.
    public let option: String
    public let error: VhostUserError

    public var description: String { "\(option): \(error)" }
}
